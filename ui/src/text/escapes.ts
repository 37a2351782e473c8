// Characters that would not show, or would show something other than what the line holds.
//
// A log line is written by whoever reaches the log: it must not be able to hide text, to reorder
// it, or to look like another line. Such characters are shown as what they are.

/** Formats that show as a sign of their own: the marks over Arabic, Syriac and Kaithi numbers. */
const SHOWN = String.raw`\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}`;
/** What hides whatever stands before it, but for joiners and selectors, on which it depends. */
const ALWAYS = String.raw`\p{Control}\p{Format}\p{Zl}\p{Zp}\p{Surrogate}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}`;
/** Scripts whose letters joiners shape. */
const SHAPED = ["Arabic", "Syriac", "Mongolian", "Nko", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Khmer", "Tibetan", "Myanmar"]
  .map((script) => String.raw`\p{Script=${script}}`)
  .join("");

/**
 * Controls but tab and newline, line and paragraph separators, everything that Unicode calls a format or ignorable by
 * default (bidirectional controls, zero widths, fillers, tags), what is no character, and halves of a pair. Joiners and
 * the selectors of a variant only where they do not belong: a run of them after a letter hides a text of its own.
 */
const INVISIBLE = new RegExp(
  [
    String.raw`(?![\t\n\u200c\u200d\ufe00-\ufe0f${SHOWN}])[${ALWAYS}]`,
    String.raw`(?=[\u200c\u200d])(?<!(?![${ALWAYS}])[\p{Extended_Pictographic}\p{Emoji_Modifier}${SHAPED}]|\p{Extended_Pictographic}\ufe0f)[\u200c\u200d]`,
    String.raw`(?=[\ufe00-\ufe0f])(?<=[\p{ASCII}${ALWAYS}]|^)(?!(?<=[0-9#*])\ufe0f\u20e3)[\ufe00-\ufe0f]`,
  ].join("|"),
  "gu",
);

/** Most lines: nothing to look for. */
const PLAIN = /^[\t\n\u0020-\u007e]*$/;

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
  if (PLAIN.test(text)) return found;
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

/** Whether the text has something that would not show. */
export function hides(text: string): boolean {
  return text.search(INVISIBLE) !== -1;
}

/** The text with its escapes written out: what a copy puts on the clipboard. */
export function escaped(text: string): string {
  return text.replace(INVISIBLE, (character) => shownAs(character.codePointAt(0) ?? 0));
}

/** JSON with nothing hidden in it: the same value, as any reader of JSON takes `\\u202e` for the character. */
export function escapedJson(json: string): string {
  return json.replace(INVISIBLE, (character) => {
    const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

function shownAs(code: number): string {
  if (code === 0x0d) return "\\r";
  if (code === 0x1b) return "\\e";
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `\\u{${code.toString(16)}}`;
}
