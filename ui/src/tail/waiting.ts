// The rows that come while the reader looks elsewhere: a bounded queue that says what it lost.
import type { Row } from "../list/rows";

/** Rows that wait while the reader looks elsewhere; past that the server is asked to hold its lines. */
export const WAITING_MAX = 5_000;
/** How many of the rows are lines. */
export function lines(rows: readonly Row[]): number {
  return rows.reduce((sum, row) => sum + (row.kind === "record" ? 1 : 0), 0);
}

/** The newest of the rows that wait; what had to go, should the server not hold its lines, is said. */
export function bounded(rows: Row[]): Row[] {
  if (rows.length <= 2 * WAITING_MAX) return rows;
  const gone = rows.slice(0, rows.length - WAITING_MAX);
  let count = 0;
  for (const row of gone) count += row.kind === "record" ? 1 : row.kind === "skipped" ? row.count : 0;
  const times = gone.flatMap((row) => (row.kind === "record" ? [row.record["@timestamp"]] : row.kind === "skipped" ? [row.from, row.to] : []));
  const known = times.filter((time) => time !== undefined).toSorted();
  return [{ kind: "skipped", count, from: known[0], to: known.at(-1) }, ...rows.slice(-WAITING_MAX)];
}
