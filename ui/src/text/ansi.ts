// ANSI colour codes (SGR) as styles over plain text. Makes data, never markup.
//
// Only `ESC [ … m` is understood. Any other sequence (cursor moves, titles, links, clipboard)
// stays in the text, where it is shown as an escape: see escapes.ts.

export interface AnsiStyle {
  /** 0–15 from the terminal's palette, or a CSS colour for the 256 and the true colours. */
  color?: number | string;
  background?: number | string;
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
  strike?: boolean;
  inverse?: boolean;
}

export interface StyledRun {
  start: number;
  end: number;
  style: AnsiStyle;
}

export interface AnsiText {
  /** The text without its colour codes; the runs point into it. */
  plain: string;
  runs: StyledRun[];
}

// oxlint-disable-next-line no-control-regex -- the escape character is what starts a code
const SGR = /\u001b\[([0-9;:]{0,64})m/g;

export function parseAnsi(text: string): AnsiText {
  if (!text.includes("\u001b[")) return { plain: text, runs: [] };
  const runs: StyledRun[] = [];
  let plain = "";
  let style: AnsiStyle = {};
  let last = 0;
  const flush = (upTo: number) => {
    const start = plain.length;
    plain += text.slice(last, upTo);
    if (plain.length > start && Object.keys(style).length > 0) runs.push({ start, end: plain.length, style });
  };
  for (const match of text.matchAll(SGR)) {
    flush(match.index);
    style = applied(style, match[1] ?? "");
    last = match.index + match[0].length;
  }
  flush(text.length);
  return { plain, runs };
}

/** `before` with the codes of one sequence applied. Unknown codes are passed over. */
function applied(before: AnsiStyle, codes: string): AnsiStyle {
  let style = { ...before };
  const numbers = codes.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at] ?? 0;
    if (code === 38 || code === 48) {
      const [color, used] = extendedColor(numbers, at + 1);
      if (color !== undefined) style[code === 38 ? "color" : "background"] = color;
      at += used;
    } else {
      style = simple(style, code);
    }
  }
  return style;
}

const ON: Record<number, keyof AnsiStyle> = {
  1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike",
};
const OFF: Record<number, (keyof AnsiStyle)[]> = {
  22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"],
  39: ["color"], 49: ["background"],
};

function simple(style: AnsiStyle, code: number): AnsiStyle {
  if (code === 0) return {};
  const on = ON[code];
  if (on) return { ...style, [on]: true };
  if (code >= 30 && code <= 37) return { ...style, color: code - 30 };
  if (code >= 90 && code <= 97) return { ...style, color: code - 90 + 8 };
  if (code >= 40 && code <= 47) return { ...style, background: code - 40 };
  if (code >= 100 && code <= 107) return { ...style, background: code - 100 + 8 };
  const rest = { ...style };
  for (const key of OFF[code] ?? []) delete rest[key];
  return rest;
}

/** The colour after a 38 or 48, and how many numbers it took. */
function extendedColor(numbers: number[], at: number): [number | string | undefined, number] {
  if (numbers[at] === 5) return [indexedColor(byte(numbers[at + 1])), 2];
  if (numbers[at] === 2) {
    return [`rgb(${byte(numbers[at + 1])} ${byte(numbers[at + 2])} ${byte(numbers[at + 3])})`, 4];
  }
  return [undefined, 1];
}

function byte(value: number | undefined): number {
  return Math.min(255, Math.max(0, Math.trunc(value ?? 0)));
}

/** xterm's 256 colours: 16 named, a 6×6×6 cube, 24 greys. */
function indexedColor(index: number): number | string {
  if (index < 16) return index;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const step = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  const cube = index - 16;
  return `rgb(${step(Math.floor(cube / 36))} ${step(Math.floor(cube / 6) % 6)} ${step(cube % 6)})`;
}
