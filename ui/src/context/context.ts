// The lines around one line, in the order of its file, growing at both ends.
import { signal } from "@preact/signals";
import * as api from "../api/client";
import { type ApiError, toApiError } from "../api/error";
import type { LogRecord } from "../api/types";
import { RowWindow } from "../list/row-window";
import { ROW_PIXELS, type Row, recordRows } from "../list/rows";

/** Lines fetched on each side, at first and at every further step. */
const STEP_ROWS = 50;
/** Rows held in memory: the far end leaves, and is fetched again on the way back. */
const ROWS_MAX = 5_000;

export class Context {
  rows = new RowWindow<Row>(ROW_PIXELS);
  readonly version = signal(0);
  readonly state = signal<{ kind: "loading" } | { kind: "ready" } | { kind: "failed"; error: ApiError }>({ kind: "loading" });
  /** The line itself, once it came. */
  readonly center = signal<{ index: number; record: LogRecord } | null>(null);
  /** Whether the file's own first or last line is reached. */
  readonly reached = signal({ start: false, end: false });

  private abort = new AbortController();
  private busy = false;

  async run(id: string): Promise<void> {
    this.stop();
    const { signal } = this.abort;
    this.rows = new RowWindow<Row>(ROW_PIXELS);
    this.center.value = null;
    this.reached.value = { start: false, end: false };
    this.state.value = { kind: "loading" };
    this.version.value += 1;
    const records = await this.ask(id, STEP_ROWS, STEP_ROWS, signal);
    if (!records) return;
    this.rows.append(recordRows(records));
    const index = records.findIndex((record) => record.id === id);
    const record = records[index];
    if (record) this.center.value = { index: this.rows.start + index, record };
    this.reached.value = { start: index < STEP_ROWS, end: records.length - 1 - index < STEP_ROWS };
    this.state.value = { kind: "ready" };
    this.version.value += 1;
  }

  stop(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.busy = false;
  }

  async grow(edge: "start" | "end"): Promise<void> {
    if (this.busy || this.reached.value[edge] || this.state.value.kind !== "ready") return;
    const outer = this.rows.at(edge === "start" ? this.rows.start : this.rows.end - 1);
    if (outer?.kind !== "record") return;
    const { id } = outer.record;
    const { signal } = this.abort;
    const records = await (edge === "start" ? this.ask(id, STEP_ROWS, 0, signal) : this.ask(id, 0, STEP_ROWS, signal));
    if (!records) return;
    const fresh = recordRows(records.filter((record) => record.id !== id));
    if (fresh.length < STEP_ROWS) this.reached.value = { ...this.reached.value, [edge]: true };
    if (edge === "start") {
      this.rows.prepend(fresh);
      this.trim("end");
    } else {
      this.rows.append(fresh);
      this.trim("start");
    }
    this.version.value += 1;
  }

  private trim(edge: "start" | "end"): void {
    const over = this.rows.length - ROWS_MAX;
    if (over <= 0) return;
    if (edge === "start") this.rows.dropFront(over);
    else this.rows.dropBack(over);
    this.reached.value = { ...this.reached.value, [edge]: false };
  }

  private async ask(id: string, before: number, after: number, signal: AbortSignal): Promise<LogRecord[] | null> {
    this.busy = true;
    try {
      const { records } = await api.context(id, before, after, signal);
      return signal.aborted ? null : records;
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error && !signal.aborted) this.state.value = { kind: "failed", error };
      return null;
    } finally {
      if (!signal.aborted) this.busy = false;
    }
  }
}
