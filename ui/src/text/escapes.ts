// Characters that would not show, or would show something other than what the line holds.
//
// A log line is written by whoever reaches the log: it must not be able to hide text, to reorder
// it, or to look like another line. Such characters are shown as what they are.

/**
 * C0 and C1 controls but tab and newline, line and paragraph separators, bidirectional controls,
 * invisible operators and fillers, interlinear marks, lone surrogates, tag characters.
 */
const INVISIBLE =
  // oxlint-disable-next-line no-control-regex, no-misleading-character-class -- such characters are what this looks for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]|\p{Surrogate}|(?<=[\u0000-\u007f]|^)[\u200c\u200d]/gu;

export interface Escape {
  start: number;
  end: number;
  /** What is shown in place of the character. */
  shown: string;
  /** What a reader who points at it is told. */
  title: string;
}

const NAMES: Record<number, string> = {
  0x00: "null", 0x07: "bell", 0x08: "backspace", 0x0b: "vertical tab", 0x0c: "form feed",
  0x0d: "carriage return", 0x1b: "escape", 0x7f: "delete", 0xad: "soft hyphen", 0x200b: "zero width space",
  0x200c: "zero width non-joiner", 0x200d: "zero width joiner", 0x200e: "left-to-right mark",
  0x200f: "right-to-left mark", 0x202a: "left-to-right embedding", 0x202b: "right-to-left embedding",
  0x202c: "pop directional formatting", 0x202d: "left-to-right override", 0x202e: "right-to-left override",
  0x2066: "left-to-right isolate", 0x2067: "right-to-left isolate", 0x2068: "first strong isolate",
  0x2069: "pop directional isolate", 0xfeff: "byte order mark",
};

/** Where in `text` something must be shown as an escape. */
export function findEscapes(text: string): Escape[] {
  const found: Escape[] = [];
  for (const match of text.matchAll(INVISIBLE)) {
    const code = match[0].codePointAt(0) ?? 0;
    found.push({
      start: match.index,
      end: match.index + match[0].length,
      shown: shownAs(code),
      title: NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`,
    });
  }
  return found;
}

/** The text with its escapes written out: what a copy puts on the clipboard. */
export function escaped(text: string): string {
  return text.replace(INVISIBLE, (character) => shownAs(character.codePointAt(0) ?? 0));
}

function shownAs(code: number): string {
  if (code === 0x0d) return "\\r";
  if (code === 0x1b) return "\\e";
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `\\u{${code.toString(16)}}`;
}
