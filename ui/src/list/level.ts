// Levels as they are written in a line: three letters, so that colour is never the only sign.
import { LEVELS, type Level } from "../api/types";

const CODES: Record<Level, string> = {
  trace: "TRC", debug: "DBG", info: "INF", warning: "WRN", error: "ERR", critical: "CRT",
};

/** The level, if it is one that we know: the style sheet and the counts know no other. */
export function knownLevel(level: string | undefined): Level | undefined {
  return (LEVELS as readonly (string | undefined)[]).includes(level) ? (level as Level) : undefined;
}

export function levelCode(level: Level | undefined): string {
  return level ? CODES[level] : "···";
}
