// What is asked of the audit log, and how an address says it. Pure.
import type { AuditQuestion } from "../api/client";
import { type Range, bounds } from "../query/range";
import { parseRange } from "../query/view";

export interface Asked {
  /** Empty: all that the caller may ask about. Likewise of the others. */
  tenant: string;
  action: string;
  actor: string;
  range: Range;
}

const FIRST_RANGE: Range = { kind: "last", span: "24h" };

/** Reads an address. What it does not understand falls back to the first view: never an error. */
export function parseAsked(search: string): Asked {
  const query = new URLSearchParams(search);
  const of = (name: string) => query.get(name)?.trim() ?? "";
  return { tenant: of("tenant"), action: of("action"), actor: of("actor"), range: parseRange(query.get("start"), query.get("end"), FIRST_RANGE) };
}

export function formatAsked(asked: Asked): string {
  const query = new URLSearchParams();
  for (const name of ["tenant", "action", "actor"] as const) if (asked[name] !== "") query.set(name, asked[name]);
  const { start, end } = bounds(asked.range);
  query.set("start", start ?? "all");
  if (end !== undefined) query.set("end", end);
  return `?${query}`;
}

export function question({ tenant, action, actor, range }: Asked): AuditQuestion {
  return { tenant, action, actor, ...bounds(range) };
}

/** The actor that a reader means who writes a mere name: a person. */
export function actorNamed(text: string): string {
  const name = text.trim();
  return name === "" || /^(user|token|forwarded|platform|agent|uid):|^(agent|service|nobody)$/.test(name) ? name : `user:${name}`;
}
