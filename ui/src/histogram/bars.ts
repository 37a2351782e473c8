// Where each bar and each level's share of it stands, in pixels. Pure, so that it can be tested.
import { type Histogram, LEVELS, type Level } from "../api/types";

export interface Share {
  level: Level | "none";
  top: number;
  height: number;
}

export interface Bar {
  left: number;
  width: number;
  shares: Share[];
}

/** From the ground up: what is worst stands on the base line, where heights compare best. */
const STACK: readonly (Level | "none")[] = [...LEVELS.toReversed(), "none"];

/** A share that exists is never thinner than this: one error among a million lines must show. */
const SHARE_MIN_PIXELS = 2;

export function bars(data: Histogram, width: number, height: number): Bar[] {
  const most = Math.max(1, ...data.buckets.map((bucket) => bucket.total));
  const slot = width / Math.max(1, data.buckets.length);
  const gap = slot > 4 ? 1 : 0;
  return data.buckets.map((bucket, index) => {
    const left = Math.round(index * slot);
    const bar: Bar = { left, width: Math.max(1, Math.round((index + 1) * slot) - left - gap), shares: [] };
    let ground = height;
    for (const [level, count] of shares(bucket.total, bucket.by ?? {})) {
      const share = Math.max(SHARE_MIN_PIXELS, (count / most) * height);
      const top = Math.max(0, ground - share);
      bar.shares.push({ level, top, height: ground - top });
      ground = top;
    }
    return bar;
  });
}

/** The levels that occur, from the worst, then what has none. */
export function shares(total: number, by: Partial<Record<Level, number>>): [Level | "none", number][] {
  let rest = total;
  const found: [Level | "none", number][] = [];
  for (const level of STACK) {
    const count = level === "none" ? Math.max(0, rest) : (by[level] ?? 0);
    if (count > 0) found.push([level, count]);
    rest -= count;
  }
  return found;
}

export function total(data: Histogram): number {
  return data.buckets.reduce((sum, bucket) => sum + bucket.total, 0);
}

/** The step between time marks: a round one, with room for each label. */
export function markStep(spanMs: number, width: number, labelPixels: number): number {
  const fits = Math.max(1, Math.floor(width / labelPixels));
  return STEPS_MS.find((step) => spanMs / step <= fits) ?? spanMs;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS_MS = [
  SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY,
];
