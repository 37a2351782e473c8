import { describe, expect, test } from "vitest";
import { bars, markStep, shares, total } from "../src/histogram/bars";

const data = {
  interval_ms: 60_000,
  complete: true,
  buckets: [
    { start: "2026-11-23T22:00:00Z", total: 100, by: { info: 90, error: 10 } },
    { start: "2026-11-23T22:01:00Z", total: 0, by: {} },
    { start: "2026-11-23T22:02:00Z", total: 50 },
  ],
};

describe("bars", () => {
  test("fill the width without overlap", () => {
    const made = bars(data, 100, 40);
    expect(made.map(({ left, width }) => [left, width])).toEqual([[0, 32], [33, 33], [67, 32]]);
  });
  test("stand on the ground, the worst first", () => {
    const [first] = bars(data, 90, 40);
    expect(first?.shares).toEqual([{ level: "error", top: 36, height: 4 }, { level: "info", top: 0, height: 36 }]);
  });
  test("lines without a level are shown", () => expect(bars(data, 90, 40)[2]?.shares).toEqual([{ level: "none", top: 20, height: 20 }]));
  test("one error in a million is seen, and nothing leaves the strip", () => {
    const [bar] = bars({ ...data, buckets: [{ start: "", total: 1_000_000, by: { info: 999_999, error: 1 } }] }, 90, 40);
    expect(bar?.shares[0]).toMatchObject({ level: "error", height: 2 });
    expect(Math.min(...(bar?.shares ?? []).map((share) => share.top))).toBeGreaterThanOrEqual(0);
  });
  test("no buckets, no bars", () => expect(bars({ ...data, buckets: [] }, 90, 40)).toEqual([]));
  test("sums", () => expect([total(data), shares(5, { info: 7 })]).toEqual([150, [["info", 7]]]));
  test("marks are round, and have room", () => {
    expect(markStep(3_600_000, 1000, 100)).toBe(600_000);
    expect(markStep(60_000, 1000, 100)).toBe(10_000);
    expect(markStep(86_400_000, 300, 100)).toBe(43_200_000);
  });
});
