// Time ranges: relative to now, everything, or from one instant to another.
import type { Zone } from "../text/time";
import { day, millis, two } from "../text/time";

export type Range = { kind: "last"; span: Span } | { kind: "all" } | { kind: "between"; start: string; end: string | null };

export const SPANS = ["15m", "1h", "6h", "24h", "7d"] as const;
export type Span = (typeof SPANS)[number];

export const SPAN_NAMES: Record<Span, string> = {
  "15m": "15 minutes",
  "1h": "hour",
  "6h": "6 hours",
  "24h": "24 hours",
  "7d": "7 days",
};

const SPAN_MS: Record<Span, number> = {
  "15m": 900_000, "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000, "7d": 604_800_000,
};

export const DEFAULT_RANGE: Range = { kind: "last", span: "1h" };

export function isSpan(text: string): text is Span {
  return (SPANS as readonly string[]).includes(text);
}

/**
 * `start` and `end` as the API takes them.
 *
 * Relative ranges stay relative: the server's clock decides, as the browser's may be wrong.
 */
export function bounds(range: Range): { start?: string; end?: string } {
  if (range.kind === "all") return {};
  if (range.kind === "last") return { start: `now-${range.span}` };
  return range.end === null ? { start: range.start } : { start: range.start, end: range.end };
}

/** `Last hour`, `All time`, `Nov 23 22:17 – 23:05` */
export function rangeName(range: Range, zone: Zone): string {
  if (range.kind === "all") return "All time";
  if (range.kind === "last") return `Last ${SPAN_NAMES[range.span]}`;
  const start = moment(range.start, zone);
  if (range.end === null) return `Since ${start}`;
  const sameDay = day(range.start, zone) === day(range.end, zone);
  return `${start} – ${sameDay ? moment(range.end, zone).slice(7) : moment(range.end, zone)}`;
}

function moment(timestamp: string, zone: Zone): string {
  const at = new Date(millis(timestamp));
  const [hours, minutes, seconds] =
    zone === "utc" ? [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()] : [at.getHours(), at.getMinutes(), at.getSeconds()];
  return `${day(timestamp, zone)} ${two(hours)}:${two(minutes)}${seconds ? `:${two(seconds)}` : ""}`;
}

/** Whether lines of this range can lie on different days, so that a time of day is not enough. */
export function spansDays(range: Range): boolean {
  if (range.kind === "all") return true;
  if (range.kind === "last") return SPAN_MS[range.span] > SPAN_MS["1h"];
  const end = range.end === null ? Date.now() : millis(range.end);
  return new Date(millis(range.start)).toDateString() !== new Date(end).toDateString();
}

/** The next wider range worth trying when this one held nothing. */
export function wider(range: Range): Range | null {
  if (range.kind === "all") return null;
  if (range.kind === "last" && range.span !== "7d") return { kind: "last", span: range.span === "24h" ? "7d" : "24h" };
  return { kind: "all" };
}
