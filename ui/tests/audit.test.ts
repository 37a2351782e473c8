import { describe, expect, test } from "vitest";
import { ACTIONS, grouped } from "../src/audit/actions";
import { type Asked, actorNamed, formatAsked, parseAsked, question } from "../src/audit/asked";
import { summary, told } from "../src/audit/summary";

describe("what is asked of the audit log", () => {
  const check = (address: string, expected: Asked, back = address) => {
    expect(parseAsked(address)).toEqual(expected);
    expect(formatAsked(expected)).toBe(back);
  };
  const none = { tenant: "", action: "", actor: "" };

  test("nothing: the last day of all", () => check("", { ...none, range: { kind: "last", span: "24h" } }, "?start=now-24h"));
  test("everything", () => check("?tenant=acme&action=search&actor=user%3Aann&start=now-1h", { tenant: "acme", action: "search", actor: "user:ann", range: { kind: "last", span: "1h" } }));
  test("all time", () => check("?start=all", { ...none, range: { kind: "all" } }));
  test("what cannot be read is not asked", () => check("?start=yesterday&limit=7", { ...none, range: { kind: "last", span: "24h" } }, "?start=now-24h"));
  test("as the API takes it", () => expect(question(parseAsked("?actor=service&start=all"))).toEqual({ ...none, actor: "service" }));
  test("a mere name is a person's", () =>
    expect(["ann", " user:ann ", "token:0123", "uid:0", "forwarded:ann", "platform:a", "service", "nobody", "servicer", ""].map(actorNamed)).toEqual(["user:ann", "user:ann", "token:0123", "uid:0", "forwarded:ann", "platform:a", "service", "nobody", "user:servicer", ""]));
});

describe("actions", () => {
  test("of a newer server stand behind", () => {
    expect(grouped(["search", "", "moon.land", "moon.land"]).at(-1)).toEqual(["Others", ["moon.land"]]);
    expect(grouped(["search", ""])).toBe(ACTIONS);
  });
});

describe("details", () => {
  test("in a line", () => expect(summary({ start: "now-1h", q: "a b", roles: ["viewer"], status: 403, tenant: "" })).toBe("a b · start now-1h · roles [\"viewer\"] · status 403"));
  test("that are none, or no object", () => expect([summary({}), summary(null), summary("text"), summary([1])]).toEqual(["", "", "details text", "details [1]"]));
  test("one by one", () => expect(told({ q: "", limit: 5, everything: false })).toEqual([["limit", "5"], ["everything", "false"]]));
});
