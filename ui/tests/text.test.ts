import { describe, expect, test } from "vitest";
import { parseAnsi } from "../src/text/ansi";
import { escaped, findEscapes } from "../src/text/escapes";
import { pieces } from "../src/text/pieces";
import { bytes, counted, duration, short } from "../src/text/quantity";
import { clock, day, fromInput, full, mark, millis, toInput } from "../src/text/time";

describe("ansi", () => {
  const check = (text: string, plain: string, runs: unknown[]) => expect(parseAnsi(text)).toEqual({ plain, runs });

  test("plain text has no runs", () => check("hello", "hello", []));
  test("a colour and its reset", () => check("a\u001b[31mb\u001b[0mc", "abc", [{ start: 1, end: 2, style: { color: 1 } }]));
  test("an empty code resets", () => check("\u001b[1mb\u001b[mc", "bc", [{ start: 0, end: 1, style: { bold: true } }]));
  test("codes add up", () => check("\u001b[1;4;92mx", "x", [{ start: 0, end: 1, style: { bold: true, underline: true, color: 10 } }]));
  test("39 takes the colour only", () => check("\u001b[1;31m\u001b[39mx", "x", [{ start: 0, end: 1, style: { bold: true } }]));
  test("256 colours", () => check("\u001b[38;5;196mx\u001b[48;5;244my", "xy", [
    { start: 0, end: 1, style: { color: "rgb(255 0 0)" } },
    { start: 1, end: 2, style: { color: "rgb(255 0 0)", background: "rgb(128 128 128)" } },
  ]));
  test("true colour, beyond its bounds", () => check("\u001b[38;2;1;999;3mx", "x", [{ start: 0, end: 1, style: { color: "rgb(1 255 3)" } }]));
  test("a colour that is cut off", () => check("\u001b[38;5mx", "x", [{ start: 0, end: 1, style: { color: 0 } }]));
  test("other sequences stay in the text", () => check("\u001b[2Jx\u001b]0;title\u0007", "\u001b[2Jx\u001b]0;title\u0007", []));
  test("no end of numbers", () => check(`\u001b[${"1;".repeat(500)}mx`, `\u001b[${"1;".repeat(500)}mx`, []));
});

describe("escapes", () => {
  const check = (text: string, shown: string) => expect(escaped(text)).toBe(shown);

  test("tab and newline are layout", () => check("a\tb\nc", "a\tb\nc"));
  test("bell, escape, return", () => check("\u0007\u001b\r", "\\x07\\e\\r"));
  test("C1 controls", () => check("\u009b31m", "\\x9b31m"));
  test("bidirectional controls", () => check("\u202egnp.exe\u2066", "\\u{202e}gnp.exe\\u{2066}"));
  test("separators that look like a new line", () => check("a\u2028b\u2029c\u0085d", "a\\u{2028}b\\u{2029}c\\x85d"));
  test("zero width", () => check("pass\u200bword\ufeff", "pass\\u{200b}word\\u{feff}"));
  test("a joiner within ASCII is a trick", () => check("a\u200db", "a\\u{200d}b"));
  test("a joiner within an emoji or a Persian word is writing", () => check("👩\u200d💻 می\u200cخواهم", "👩\u200d💻 می\u200cخواهم"));
  test("a joiner within letters that do not join is a trick", () => check("é\u200dé ש\u200cש", "é\\u{200d}é ש\\u{200c}ש"));
  test("selectors belong to emoji and keycaps, and hide a text elsewhere", () => check("❤\ufe0f 1\ufe0f\u20e3 ❤\ufe0f\u200d🔥 a\ufe00\ufe01", "❤\ufe0f 1\ufe0f\u20e3 ❤\ufe0f\u200d🔥 a\\u{fe00}\\u{fe01}"));
  test("marks that show are left alone", () => check("\u0600\u0661", "\u0600\u0661"));
  test("music, shorthand and other formats", () => check("\u{1d173}\u{1bca0}\ufff9", "\\u{1d173}\\u{1bca0}\\u{fff9}"));
  test("tag characters", () => check("\u{e0041}", "\\u{e0041}"));
  test("half a pair", () => check("a\ud800b", "a\\u{d800}b"));
  test("other scripts are left alone", () => check("שלום مرحبا 日本語 🙂 é", "שלום مرحبا 日本語 🙂 é"));
  test("they know their names", () => expect(findEscapes("\u202e")[0]?.title).toBe("right-to-left override"));
});

describe("pieces", () => {
  test("nothing", () => expect(pieces(parseAnsi(""))).toEqual([]));
  test("plain", () => expect(pieces(parseAnsi("abc"))).toEqual([{ text: "abc" }]));
  test("a match over the border of a colour", () =>
    expect(pieces(parseAnsi("ab\u001b[31mcd\u001b[0mef"), [{ start: 1, end: 3 }])).toEqual([
      { text: "a" },
      { text: "b", match: true },
      { text: "c", style: { color: 1 }, match: true },
      { text: "d", style: { color: 1 } },
      { text: "ef" },
    ]));
  test("an escape within a match", () =>
    expect(pieces(parseAnsi("a\u0007b"), [{ start: 0, end: 3 }])).toEqual([
      { text: "a", match: true },
      { text: "\\x07", escape: "bell", match: true },
      { text: "b", match: true },
    ]));
  test("nothing is lost, whatever the text", () => {
    // The printed seed makes a failure repeatable.
    const seed = Date.now() % 1e9;
    let state = seed;
    const next = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return state % below;
    };
    const alphabet = ["a", "é", "\u001b[31m", "\u001b[0m", "\u001b[", "\u0007", "\u202e", "👩\u200d💻", "\n", "x\u200dy", "\ud83d"];
    for (let round = 0; round < 500; round += 1) {
      const text = Array.from({ length: next(20) }, () => alphabet[next(alphabet.length)]).join("");
      const ansi = parseAnsi(text);
      const from = next(ansi.plain.length + 1);
      const made = pieces(ansi, [{ start: from, end: Math.min(ansi.plain.length, from + next(4)) }].filter((span) => span.end > span.start));
      expect(made.map((piece) => piece.text).join(""), `seed ${seed}, round ${round}`).toBe(escaped(ansi.plain));
    }
  });
});

describe("time", () => {
  const stamp = "2026-11-23T22:17:20.265986123Z";
  test("nanoseconds are kept in full", () => expect(full(stamp, "utc")).toBe("2026-11-23 22:17:20.265986123"));
  test("in a line to the millisecond", () => expect(clock(stamp, "utc")).toBe("22:17:20.265"));
  test("no decimals", () => expect(clock("2026-11-23T22:17:20Z", "utc")).toBe("22:17:20.000"));
  test("a Date sees milliseconds", () => expect(millis(stamp)).toBe(Date.UTC(2026, 10, 23, 22, 17, 20, 265)));
  test("day", () => expect(day(stamp, "utc")).toBe("Nov 23"));
  test("marks are as fine as their step", () => {
    expect(mark(millis(stamp), "utc", 1000, 60_000)).toBe("22:17:20");
    expect(mark(millis(stamp), "utc", 60_000, 3_600_000)).toBe("22:17");
    expect(mark(millis(stamp), "utc", 3_600_000, 86_400_000)).toBe("Nov 23 22:17");
  });
  test("there and back through a field", () => {
    for (const zone of ["utc", "local"] as const) expect(fromInput(toInput(1_795_000_000_000, zone), zone)).toBe(new Date(1_795_000_000_000).toISOString());
    expect(fromInput("", "utc")).toBeNull();
  });
});

describe("quantity", () => {
  test("counts", () => expect([counted(1, "line"), counted(12_345, "line"), short(9_999), short(12_345), short(4_100_000)]).toEqual(["1 line", "12,345 lines", "9,999", "12.3k", "4.1M"]));
  test("sizes and times", () => expect([bytes(900), bytes(84_200), bytes(3.2e9), duration(0.84), duration(44.4), duration(1400)]).toEqual(["900 B", "84.2 kB", "3.2 GB", "0.8 ms", "44 ms", "1.4 s"]));
});
