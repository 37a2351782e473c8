// What a row of the audit log says beside its columns. Pure.
import type { Json } from "../api/types";

/** The details by name; empty ones say nothing. */
export function told(details: Json): [name: string, value: string][] {
  const isObject = details !== null && typeof details === "object" && !Array.isArray(details);
  const all: [string, Json][] = isObject ? Object.entries(details) : [["details", details]];
  return all.filter(([, value]) => value !== "" && value !== null).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]);
}

/** The details in a line: what was searched for comes first, and needs no name. */
export function summary(details: Json): string {
  const all = told(details);
  const query = all.filter(([name]) => name === "q").map(([, value]) => value);
  return [...query, ...all.filter(([name]) => name !== "q").map(([name, value]) => `${name} ${value}`)].join(" · ");
}
