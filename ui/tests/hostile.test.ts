// What others wrote, of any kind: nothing breaks what reads it, and nothing of it is hidden or obeyed.
// A failure prints its seed and the smallest text that shows it.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAnsi } from "../src/text/ansi";
import { escaped, escapedJson, hides } from "../src/text/escapes";
import { pieces } from "../src/text/pieces";

const RUNS = { numRuns: 4000 };

/** Pieces that attackers are made of, among any text. */
const NASTY = [
  "\u001b[31m", "\u001b[0m", "\u001b[", "\u001b[1;", "m", "\u001b[38;5;", "\u001b[48;2;1;2;", "\u001b]0;t\u0007", "\u001b]8;;http://e\u001b\\", "\u001b]52;c;eA==\u0007",
  "\u001b[2J", "\u001b[?25l", "\u001b[10;10H", "\u001bc", "\u009b31m", "\u0090q\u009c", "\r", "\b\b\b", "\u0000", "\u007f", "\u0085", "\u2028", "\u2029",
  "\u202a", "\u202e", "\u202c", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufe0f", "\ufe00",
  "\u{e0041}", "\u{e0100}", "\u{1d173}", "\ud800", "\udc00", "\ud83d", "👩", "💻", "\u115f", "\u3164", "\n", "\t", "a", "0", "é", "ש", "م", "<img src=x onerror=alert(1)>",
] as const;
const text = fc.array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...NASTY) }, { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 4 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) }), { maxLength: 40 }).map((parts) => parts.join(""));

/** What must never reach a screen as it is, said apart from the rule that finds it. */
function obeyed(shown: string): string[] {
  const found: string[] = [];
  for (const character of shown) {
    const code = character.codePointAt(0) ?? 0;
    const control = (code < 0x20 && code !== 0x09 && code !== 0x0a) || (code >= 0x7f && code <= 0x9f);
    const direction = code === 0x61c || code === 0x200e || code === 0x200f || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    const invisible = code === 0xad || code === 0x200b || code === 0x2028 || code === 0x2029 || (code >= 0x2060 && code <= 0x2064) || code === 0xfeff || (code >= 0xe0000 && code <= 0xe0fff);
    const half = code >= 0xd800 && code <= 0xdfff;
    if (control || direction || invisible || half) found.push(`U+${code.toString(16)}`);
  }
  return found;
}

describe("any text", () => {
  test("is shown with nothing in it that is obeyed or hidden", () => {
    fc.assert(
      fc.property(text, (any) => {
        for (const shown of [escaped(any), pieces(parseAnsi(any)).map((piece) => piece.text).join("")]) {
          expect(obeyed(shown)).toEqual([]);
          expect(hides(shown)).toBe(false);
        }
      }),
      RUNS,
    );
  });
  test("loses nothing but its colours", () => {
    fc.assert(
      fc.property(text, fc.nat(), fc.nat(5), (any, from, length) => {
        const ansi = parseAnsi(any);
        // oxlint-disable-next-line no-control-regex -- the escape character is what starts a code
        expect(ansi.plain).toBe(any.replace(/\u001b\[[0-9;:]{0,64}m/g, ""));
        const start = from % (ansi.plain.length + 1);
        const match = { start, end: Math.min(ansi.plain.length, start + length) };
        const made = pieces(ansi, match.end > match.start ? [match] : []);
        expect(made.map((piece) => piece.text).join("")).toBe(escaped(ansi.plain));
      }),
      RUNS,
    );
  });
  test("has colours in order, within it, and of a known kind", () => {
    fc.assert(
      fc.property(text, (any) => {
        const { plain, runs } = parseAnsi(any);
        let last = 0;
        for (const run of runs) {
          expect(run.start).toBeGreaterThanOrEqual(last);
          expect(run.end).toBeGreaterThan(run.start);
          last = run.end;
          for (const color of [run.style.color, run.style.background]) {
            // Never a text of the line's own: it becomes a value of a style.
            if (typeof color === "number") expect(color >= 0 && color < 16 && Number.isInteger(color)).toBe(true);
            else if (color !== undefined) expect(color).toMatch(/^rgb\(\d{1,3} \d{1,3} \d{1,3}\)$/);
          }
        }
        expect(last).toBeLessThanOrEqual(plain.length);
      }),
      RUNS,
    );
  });
  test("of any colour code is a known colour", () => {
    const code = fc.array(fc.oneof(fc.constantFrom("38", "48", "5", "2", "", "0", "1", "999999999999999999999"), fc.nat(300).map(String)), { maxLength: 12 });
    fc.assert(
      fc.property(code, fc.constantFrom(";", ":"), (codes, separator) => {
        for (const { style } of parseAnsi(`\u001b[${codes.join(separator).slice(0, 64)}mx`).runs) {
          for (const color of [style.color, style.background]) if (typeof color === "string") expect(color).toMatch(/^rgb\(\d{1,3} \d{1,3} \d{1,3}\)$/);
        }
      }),
      RUNS,
    );
  });
  test("is copied as JSON that has the true text, and nothing hidden", () => {
    fc.assert(
      fc.property(fc.dictionary(text, fc.oneof(text, fc.integer()), { maxKeys: 4, noNullPrototype: true }), (record) => {
        const json = escapedJson(JSON.stringify(record, null, 2));
        expect(obeyed(json)).toEqual([]);
        expect(JSON.parse(json)).toEqual(record);
      }),
      RUNS,
    );
  });
});

test("a long line is read in one go", () => {
  const line = NASTY.join("").repeat(2000);
  const shown = pieces(parseAnsi(line)).map((piece) => piece.text).join("");
  expect(obeyed(shown)).toEqual([]);
  expect(obeyed(escaped("\u001b[".repeat(200_000)))).toEqual([]);
});
