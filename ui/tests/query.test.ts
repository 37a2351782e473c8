import { describe, expect, test } from "vitest";
import { split } from "../src/query/split";
import { bounds, rangeName, spansDays, wider } from "../src/query/range";
import { findMatches, matchPattern, term, tokens, withTerm } from "../src/query/terms";
import { FIRST_VIEW, type View, formatView, parseView, sameQuestion } from "../src/query/view";

describe("view and address", () => {
  const back = (change: Partial<View>) => {
    const view = { ...FIRST_VIEW, ...change };
    expect(parseView(formatView(view))).toEqual(view);
  };
  test("the first view", () => back({}));
  test("a query with everything in it", () => back({ q: 'a & b=c #d +e %20 "ü" \\ /x?/' }));
  test("tenants", () => back({ tenants: ["acme", "globex"] }));
  test("ranges", () => {
    for (const span of ["15m", "1h", "6h", "24h", "7d"] as const) back({ range: { kind: "last", span } });
    back({ range: { kind: "all" } });
    back({ range: { kind: "between", start: "2026-11-23T22:00:00.000Z", end: "2026-11-23T23:00:00.000Z" } });
    back({ range: { kind: "between", start: "2026-11-23T22:00:00.000Z", end: null } });
  });
  test("order, tail, line", () => back({ order: "asc", live: true, line: "n42/=&" }));
  test("the names are the API's", () => expect(formatView({ ...FIRST_VIEW, q: "x", tenants: ["a", "b"] })).toBe("?tenant=a&tenant=b&q=x&start=now-1h"));
  test("what makes no sense is the first view", () => {
    for (const search of ["", "?start=soon", "?start=now-3y&order=sideways", "?tenant=&line="]) expect(parseView(search)).toEqual(FIRST_VIEW);
  });
  test("tenants are sorted, and named once", () => expect(parseView("?tenant=b&tenant=a&tenant=b").tenants).toEqual(["a", "b"]));
  test("an end before the start is turned", () =>
    expect(parseView("?start=2026-11-23T23:00:00Z&end=2026-11-23T22:00:00Z").range).toEqual({ kind: "between", start: "2026-11-23T22:00:00.000Z", end: "2026-11-23T23:00:00.000Z" }));
  test("another line is the same question", () => {
    expect(sameQuestion(FIRST_VIEW, { ...FIRST_VIEW, line: "x" })).toBe(true);
    expect(sameQuestion(FIRST_VIEW, { ...FIRST_VIEW, q: "x" })).toBe(false);
  });
});

describe("ranges", () => {
  test("relative ranges stay the server's to resolve", () => expect(bounds({ kind: "last", span: "6h" })).toEqual({ start: "now-6h" }));
  test("all time has no bounds", () => expect(bounds({ kind: "all" })).toEqual({}));
  test("names", () => {
    expect(rangeName({ kind: "last", span: "1h" }, "utc")).toBe("Last hour");
    expect(rangeName({ kind: "between", start: "2026-11-23T22:17:00Z", end: "2026-11-23T23:05:09Z" }, "utc")).toBe("Nov 23 22:17 – 23:05:09");
    expect(rangeName({ kind: "between", start: "2026-11-23T22:17:00Z", end: "2026-11-24T01:00:00Z" }, "utc")).toBe("Nov 23 22:17 – Nov 24 01:00");
  });
  test("days are shown where they can differ", () => {
    expect(spansDays({ kind: "last", span: "1h" })).toBe(false);
    expect(spansDays({ kind: "last", span: "24h" })).toBe(true);
  });
  test("wider, up to everything", () => {
    expect(wider({ kind: "last", span: "15m" })).toEqual({ kind: "last", span: "24h" });
    expect(wider({ kind: "last", span: "7d" })).toEqual({ kind: "all" });
    expect(wider({ kind: "all" })).toBeNull();
  });
});

describe("tokens", () => {
  const kinds = (query: string) => tokens(query).map((token) => `${token.kind} ${token.text}`);
  test("a bit of everything", () =>
    expect(kinds('level:>=warning AND (dag_id:"a b" OR -timeout) /re try/ @timestamp:[a TO b] 10.0.0.7')).toEqual([
      "field level:", "range >=warning", "operator AND", "bracket (", "field dag_id:", 'string "a b"', "operator OR", "operator -", "word timeout", "bracket )",
      "regex /re try/", "field @timestamp:", "range [a TO b]", "word 10.0.0.7",
    ]));
  test("a path is no regex", () => expect(kinds("a/b/c")).toEqual(["word a/b/c"]));
  test("an open quote", () => expect(kinds('x "never closed')).toEqual(["word x", 'string "never closed']));
  test("every character is in a token, or is space", () => {
    for (const query of ['a\\"b', "((", '"\\', "[x", "a:b:c", "AND", "-", "*", "ü:x", "\\"]) {
      const covered = tokens(query).map((token) => query.slice(token.start, token.end)).join("");
      expect(covered.length).toBeGreaterThanOrEqual(query.replaceAll(/[\s\\]/g, "").length);
    }
  });
});

describe("adding a term", () => {
  const check = (query: string, expected: string) => expect(withTerm(query, term("dag_id", "etl"))).toBe(expected);
  test("to nothing", () => check("  ", 'dag_id:"etl"'));
  test("to a word", () => check("timeout", 'timeout dag_id:"etl"'));
  test("twice is once", () => check('x dag_id:"etl" y', 'x dag_id:"etl" y'));
  test("within a longer one is not the same", () => check('xdag_id:"etl"', 'xdag_id:"etl" dag_id:"etl"'));
  test("its opposite is not the same", () => check('-dag_id:"etl"', '-dag_id:"etl" dag_id:"etl"'));
  test("OR is put in brackets", () => check("a OR b", '(a OR b) dag_id:"etl"'));
  test("OR in brackets is as it is", () => check("(a OR b)", '(a OR b) dag_id:"etl"'));
  test("OR in a phrase is a word", () => check('"a OR b"', '"a OR b" dag_id:"etl"'));
  test("quotes and backslashes", () => expect(term("x", 'a"b\\c')).toBe(String.raw`x:"a\"b\\c"`));
});

describe("matches", () => {
  const check = (query: string, text: string, expected: string[]) =>
    expect(findMatches(text, matchPattern(query)).map(({ start, end }) => text.slice(start, end))).toEqual(expected);
  test("words, whole and in any case", () => check("error", "Error errors terror ERROR_x (error)", ["Error", "error"]));
  test("phrases over any space", () => check('"connection refused"', "connection   refused", ["connection   refused"]));
  test("prefix and part", () => check("tim* *fuse*", "timeout, refused", ["timeout", "fused"]));
  test("inner punctuation", () => check("10.0.0.7", "at 10.0.0.7:5432, not 10.0.0.70 or 1010.0.0.7", ["10.0.0.7"]));
  test("what is excluded, or in a field, is not marked", () => check("a -b NOT c dag_id:d level:>=error message:e", "a b c d e error", ["a", "e"]));
  test("no words, no pattern", () => expect(matchPattern("level:error /x+/")).toBeNull());
  test("a long line is gone through once", () => {
    const begun = performance.now();
    findMatches("a".repeat(200_000), matchPattern("a*b *x* aa* \"a a\""));
    expect(performance.now() - begun).toBeLessThan(2000);
  });
  test("a query is never run as a pattern", () => check('"(a+)+$"', "aaaa", []));
  test("every odd query makes a pattern that compiles", () => {
    for (const query of ["-", "*", "a-b", "a\\", '"', '"\\"', "a**b", "(((", "/", "/a", "[", "{2}", "^$", "a|b", "ü*"]) expect(() => matchPattern(query)).not.toThrow();
  });
});

describe("the place of a mistake", () => {
  test("in the middle", () => expect(split("a (b", 2)).toEqual({ before: "a ", at: "(", after: "b" }));
  test("at the end, and past it", () => {
    expect(split("ab", 2)).toEqual({ before: "ab", at: "", after: "" });
    expect(split("ab", 99)).toEqual({ before: "ab", at: "", after: "" });
  });
  test("counted in characters, not in halves of them", () => expect(split("🙂(", 1)).toEqual({ before: "🙂", at: "(", after: "" }));
  test("a long query is cut around it", () => {
    const { before, after } = split(`${"a".repeat(500)}(${"b".repeat(500)}`, 500);
    expect([before.length, after.length]).toEqual([61, 61]);
  });
});
