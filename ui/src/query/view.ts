// What the page shows, as its address says it: whoever opens a shared address sees the same view.
//
// The names are the API's own: tenant, q, start, end, order.
import type { Question } from "../api/client";
import { DEFAULT_RANGE, type Range, bounds, isSpan } from "./range";

export interface View {
  q: string;
  /** Empty: all tenants that the user may read. */
  tenants: readonly string[];
  range: Range;
  order: "desc" | "asc";
  /** The live tail instead of a search; the range then waits until the tail is left. */
  live: boolean;
  /** The id of a record whose surroundings are shown above the list. */
  line: string | null;
}

export const FIRST_VIEW: View = { q: "", tenants: [], range: DEFAULT_RANGE, order: "desc", live: false, line: null };

/** Reads an address. Anything it does not understand falls back to the first view: never an error. */
export function parseView(search: string): View {
  const query = new URLSearchParams(search);
  const tenants = [...new Set(query.getAll("tenant").filter((name) => name !== ""))].toSorted();
  return {
    q: query.get("q") ?? "",
    tenants,
    range: parseRange(query.get("start"), query.get("end")),
    order: query.get("order") === "asc" ? "asc" : "desc",
    live: query.has("live"),
    line: query.get("line") || null,
  };
}

export function formatView(view: View): string {
  const query = new URLSearchParams();
  for (const tenant of view.tenants) query.append("tenant", tenant);
  if (view.q !== "") query.set("q", view.q);
  const { start, end } = bounds(view.range);
  query.set("start", start ?? "all");
  if (end !== undefined) query.set("end", end);
  if (view.order === "asc") query.set("order", "asc");
  if (view.live) query.set("live", "1");
  if (view.line !== null) query.set("line", view.line);
  return `?${query}`;
}

/** `start` and `end` of an address; `otherwise` where they say nothing. */
export function parseRange(start: string | null, end: string | null, otherwise: Range = DEFAULT_RANGE): Range {
  if (start === "all") return { kind: "all" };
  const span = /^now-(.+)$/.exec(start ?? "")?.[1];
  if (span !== undefined && isSpan(span)) return { kind: "last", span };
  const from = instant(start);
  if (from === null) return otherwise;
  const to = instant(end);
  if (to === null) return { kind: "between", start: from, end: null };
  return Date.parse(from) <= Date.parse(to) ? { kind: "between", start: from, end: to } : { kind: "between", start: to, end: from };
}

function instant(text: string | null): string | null {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}

export function question(view: View): Question {
  return { q: view.q, tenants: view.tenants, ...bounds(view.range) };
}

/** Whether two views ask the server the same thing. */
export function sameQuestion(left: View, right: View): boolean {
  return formatView({ ...left, line: null }) === formatView({ ...right, line: null });
}
