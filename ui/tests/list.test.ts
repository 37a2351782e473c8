import { describe, expect, test } from "vitest";
import type { LogRecord } from "../src/api/types";
import { attributesOf, fieldsOf } from "../src/list/fields";
import { knownLevel, levelCode } from "../src/list/level";
import { shownMessage } from "../src/list/message";
import { RowWindow } from "../src/list/row-window";
import { sourceOf } from "../src/list/source";

const ROW = 20;

function filled(count: number): RowWindow<number> {
  const rows = new RowWindow<number>(ROW);
  rows.append(Array.from({ length: count }, (_, index) => index));
  return rows;
}

describe("the window of rows", () => {
  test("nothing", () => {
    const rows = new RowWindow<number>(ROW);
    expect([rows.length, rows.height, rows.visible(0, 500, 100)]).toEqual([0, 0, { first: 0, end: 0 }]);
  });
  test("rows keep their index while both ends change", () => {
    const rows = filled(10);
    rows.prepend([-2, -1]);
    expect([rows.start, rows.at(-2), rows.at(5)]).toEqual([-2, -2, 5]);
    rows.dropFront(5);
    expect([rows.start, rows.at(2), rows.at(5)]).toEqual([3, undefined, 5]);
    rows.dropBack(3);
    expect([rows.end, rows.at(6), rows.at(7)]).toEqual([7, 6, undefined]);
    rows.append([100]);
    expect(rows.at(7)).toBe(100);
  });
  test("dropping more than there is", () => {
    const rows = filled(3);
    rows.dropFront(9);
    expect([rows.length, rows.start]).toEqual([0, 3]);
    rows.dropBack(9);
    rows.dropFront(-1);
    expect([rows.length, rows.height]).toEqual([0, 0]);
  });
  test("measured heights move what lies beneath", () => {
    const rows = filled(100);
    expect(rows.measure(10, 120)).toBe(true);
    expect(rows.measure(10, 120)).toBe(false);
    expect([rows.offset(10), rows.offset(11), rows.height]).toEqual([200, 320, 2100]);
    rows.forgetHeights();
    expect(rows.height).toBe(2000);
  });
  test("rows that are gone, or not drawn, are not measured", () => {
    const rows = filled(3);
    expect([rows.measure(3, 50), rows.measure(-1, 50), rows.measure(1, 0)]).toEqual([false, false, false]);
  });
  test("which rows are in sight", () => {
    const rows = filled(1000);
    expect(rows.visible(200, 100, 0)).toEqual({ first: 10, end: 16 });
    expect(rows.visible(0, 100, 400)).toEqual({ first: 0, end: 26 });
    expect(rows.visible(1e9, 100, 0)).toEqual({ first: 999, end: 1000 });
  });
  test("every pixel belongs to the row whose offsets enclose it", () => {
    const rows = filled(200);
    for (let index = 0; index < 200; index += 3) rows.measure(index, 20 + (index % 7) * 13);
    rows.prepend([1, 2, 3]);
    for (let pixel = 0; pixel < rows.height; pixel += 7) {
      const index = rows.indexAt(pixel);
      expect(rows.offset(index)).toBeLessThanOrEqual(pixel);
      expect(rows.offset(index + 1)).toBeGreaterThan(pixel);
    }
  });
  test("a tail of a million lines stays small and quick", () => {
    const rows = new RowWindow<number>(ROW);
    for (let batch = 0; batch < 1000; batch += 1) {
      rows.append(Array.from({ length: 1000 }, (_, index) => batch * 1000 + index));
      rows.dropFront(rows.length - 10_000);
      rows.visible(rows.height - 800, 800, 400);
    }
    expect([rows.length, rows.start, rows.at(999_999), rows.height]).toEqual([10_000, 990_000, 999_999, 200_000]);
  });
});

describe("what a line shows of its message", () => {
  test("one line", () => expect(shownMessage("hello  \n", false)).toEqual({ text: "hello", cut: 0, moreLines: 0, last: "" }));
  test("of a traceback its first and last line", () => expect(shownMessage("Task failed\n  File x\nValueError: y", false)).toEqual({ text: "Task failed", cut: 0, moreLines: 2, last: "ValueError: y" }));
  test("wrapped: all of it", () => expect(shownMessage("a\nb", true)).toMatchObject({ text: "a\nb", moreLines: 0 }));
  test("a megabyte is cut, and said so", () => expect(shownMessage("x".repeat(1_000_000), false)).toMatchObject({ cut: 998_000 }));
});

describe("fields", () => {
  const record: LogRecord = {
    id: "r1", "@timestamp": "2026-11-23T22:17:20Z", message: "m", tenant: "acme", level: "info", dag_id: "d", task_id: "t", map_index: -1, try_number: 1,
    attributes: { filename: "x.py", request: { status: 502, tags: ["a"], none: null }, "odd key": 1, text: "a\nb", empty: {}, yes: true },
  };
  test("in a reader's order, absent ones left out", () => expect(fieldsOf(record).map((field) => field.name)).toEqual(["level", "dag_id", "task_id", "map_index", "try_number", "id"]));
  test("attributes by their path", () =>
    expect(attributesOf(record).map(({ name, value, narrows }) => [name, value, narrows])).toEqual([
      ["attributes.filename", "x.py", true],
      ["attributes.request.status", "502", true],
      ["attributes.request.tags", '[\n  "a"\n]', false],
      ["attributes.request.none", "null", false],
      ["attributes.odd key", "1", false],
      ["attributes.text", "a\nb", true],
      ["attributes.empty", "{}", false],
      ["attributes.yes", "true", true],
    ]));
  test("no end of nesting", () => {
    let deep: Record<string, unknown> = { end: 1 };
    for (let level = 0; level < 200; level += 1) deep = { deep };
    expect(attributesOf({ ...record, attributes: deep as never })).toHaveLength(1);
  });
});

describe("source and level", () => {
  const base = { id: "1", "@timestamp": "", message: "" };
  test("a task", () => expect(sourceOf({ ...base, dag_id: "d", task_id: "t", map_index: -1, try_number: 1 })).toEqual({ family: "d", member: "t", keep: "member" }));
  test("a mapped task's second try", () => expect(sourceOf({ ...base, dag_id: "d", task_id: "t", map_index: 0, try_number: 2 }).member).toBe("t[0] #2"));
  test("a component, without saying it twice", () => expect(sourceOf({ ...base, component: "scheduler", pod: "airflow-scheduler-7d9-x2" })).toEqual({ family: "scheduler", member: "7d9-x2", keep: "family" }));
  test("nothing known", () => expect(sourceOf(base)).toEqual({ family: "", member: "", keep: "family" }));
  test("a level of another make is none", () => expect([knownLevel("FATAL"), levelCode(knownLevel("constructor")), levelCode("warning")]).toEqual([undefined, "···", "WRN"]));
});
