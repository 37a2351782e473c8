// The rows of the audit log that were asked for, a page at a time. Knows no screen.
import { signal } from "@preact/signals";
import * as api from "../api/client";
import type { AuditQuestion } from "../api/client";
import { type ApiError, toApiError } from "../api/error";
import type { AuditEvent } from "../api/types";

/** Rows asked for at once. */
const PAGE_ROWS = 100;
/** Rows held: who wants more asks for less at once, or exports. */
export const ROWS_MAX = 2000;

export type LogState = { kind: "loading" } | { kind: "more" } | { kind: "end" } | { kind: "full" } | { kind: "failed"; error: ApiError };

export class AuditLog {
  readonly rows = signal<readonly AuditEvent[]>([]);
  readonly state = signal<LogState>({ kind: "loading" });
  private question: AuditQuestion = { tenant: "", action: "", actor: "" };
  private cursor: string | null = null;
  private abort = new AbortController();

  /** Begins anew, with the newest rows. */
  run(question: AuditQuestion): void {
    this.stop();
    this.question = question;
    this.cursor = null;
    this.rows.value = [];
    void this.load();
  }

  /** The next older rows, where there are some and none are on their way. */
  older(): void {
    if (this.state.value.kind === "more" || (this.state.value.kind === "failed" && this.cursor !== null)) void this.load();
  }

  stop(): void {
    this.abort.abort();
    this.abort = new AbortController();
  }

  private async load(): Promise<void> {
    this.state.value = { kind: "loading" };
    const { signal } = this.abort;
    try {
      const page = await api.audit(this.question, PAGE_ROWS, this.cursor, signal);
      if (signal.aborted) return;
      this.cursor = page.next_cursor;
      this.rows.value = [...this.rows.value, ...page.events];
      if (this.cursor === null) this.state.value = { kind: "end" };
      else this.state.value = { kind: this.rows.value.length >= ROWS_MAX ? "full" : "more" };
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error && !signal.aborted) this.state.value = { kind: "failed", error };
    }
  }
}
