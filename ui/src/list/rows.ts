// What a list is made of: lines, and notes that stand between lines.
import type { LogRecord } from "../api/types";

export type Row =
  | { kind: "record"; record: LogRecord }
  /** The server left lines out, as this reader was too slow for them. */
  | { kind: "skipped"; count: number; from: string | undefined; to: string | undefined }
  /** The tail could not resume where it broke off: lines may be missing here. */
  | { kind: "restarted"; from: string | null };

export function recordRows(records: readonly LogRecord[]): Row[] {
  return records.map((record) => ({ kind: "record", record }));
}

/** Height of a line that is not wrapped; the style sheet has the same number (`--row`). */
export const ROW_PIXELS = 20;
