// The live tail: what it holds, whether it follows, and the lines that wait while it does not.
import { signal } from "@preact/signals";
import * as api from "../api/client";
import type { Question } from "../api/client";
import { type ApiError, toApiError } from "../api/error";
import type { LogRecord } from "../api/types";
import { RowWindow } from "../list/row-window";
import { ROW_PIXELS, type Row, recordRows } from "../list/rows";
import { refresh } from "../session/session";
import { Connection, type ConnectionState } from "./connection";
import { WAITING_MAX, bounded, lines } from "./waiting";

/** Rows held in memory: the oldest leave as new ones come. */
export const ROWS_MAX = 10_000;
/** The lines shown at once when a tail begins, so that it does not begin empty. */
const BACKLOG_ROWS = 200;
/** Older lines fetched at once when the reader scrolls up. */
const OLDER_ROWS = 200;

export class Tail {
  rows = new RowWindow<Row>(ROW_PIXELS);
  readonly version = signal(0);
  readonly connection = signal<ConnectionState>({ kind: "connecting", tries: 0 });
  readonly following = signal(true);
  /** Lines that came while not following. */
  readonly waiting = signal(0);
  readonly waitingFull = signal(false);

  private question: Question = { q: "", tenants: [] };
  private line: Connection | null = null;
  private incoming: Row[] = [];
  private held: Row[] = [];
  private frame: number | null = null;
  private backlog = new Set<string>();
  private abort = new AbortController();
  private older: "idle" | "busy" | "done" = "idle";

  async run(question: Question): Promise<void> {
    this.stop();
    this.question = { q: question.q, tenants: question.tenants };
    this.rows = new RowWindow<Row>(ROW_PIXELS);
    this.incoming = [];
    this.held = [];
    this.older = "idle";
    this.waiting.value = 0;
    this.waitingFull.value = false;
    this.following.value = true;
    this.connection.value = { kind: "connecting", tries: 0 };
    this.version.value += 1;
    const { signal } = this.abort;
    const since = await this.showBacklog(signal);
    if (!signal.aborted) this.connect(since);
  }

  stop(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.line?.stop();
    this.line = null;
    if (this.frame !== null) cancelAnimationFrame(this.frame);
    this.frame = null;
  }

  /** Goes on at the end, with what waited; or stays where it is while new lines wait. */
  follow(following: boolean): void {
    if (this.following.value === following) return;
    this.following.value = following;
    if (!following) return;
    this.add(this.held);
    this.held = [];
    this.waiting.value = 0;
    this.waitingFull.value = false;
    this.line?.pause(false);
  }

  /** The network came back, or the page into sight. */
  hurry(): void {
    this.line?.hurry();
  }

  /** Lines from before the tail began, put in front; not while following, when nobody looks there. */
  async loadOlder(): Promise<void> {
    const first = this.rows.at(this.rows.start);
    if (this.following.value || this.older !== "idle" || first?.kind !== "record" || this.rows.length >= ROWS_MAX) return;
    this.older = "busy";
    const { signal } = this.abort;
    try {
      const question = { ...this.question, end: first.record["@timestamp"] };
      const page = await api.search(question, { limit: OLDER_ROWS, order: "desc", signal });
      if (signal.aborted) return;
      const known = this.ids();
      const fresh = page.records.filter((record) => !known.has(record.id)).toReversed();
      this.rows.prepend(recordRows(fresh));
      this.older = fresh.length === 0 ? "done" : "idle";
      this.version.value += 1;
    } catch {
      // Scrolling up once more tries again.
      if (!signal.aborted) this.older = "idle";
    }
  }

  /** The newest lines, at once. Returns from when on the tail must begin for no line to be missed. */
  private async showBacklog(signal: AbortSignal): Promise<string> {
    this.backlog = new Set();
    try {
      const page = await api.search({ ...this.question, start: "now-24h" }, { limit: BACKLOG_ROWS, order: "desc", signal });
      if (signal.aborted) return "now";
      const records = page.records.toReversed();
      for (const record of records) this.backlog.add(record.id);
      this.rows.append(recordRows(records));
      this.version.value += 1;
      return records[0]?.["@timestamp"] ?? "now-1m";
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error && (error.status === 400 || error.status === 403)) {
        this.connection.value = { kind: "stopped", error };
        this.abort.abort();
      }
      return "now-1m";
    }
  }

  private connect(since: string): void {
    const around = {
      ticket: (given: (ticket: string) => void, refused: (error: ApiError) => void) => {
        api.tailTicket().then(given, (thrown: unknown) => {
          const error = toApiError(thrown);
          if (error) refused(error);
        });
      },
      open: (from: { since?: string; resume?: string }, ticket: string) => api.openTail(this.question, from, ticket),
      setTimeout: (callback: () => void, ms: number) => window.setTimeout(callback, ms),
      clearTimeout: (timer: number) => window.clearTimeout(timer),
      now: () => Date.now(),
      random: () => Math.random(),
    };
    this.line = new Connection(
      around,
      {
        state: (state) => {
          this.connection.value = state;
        },
        records: (records) => this.take(this.unseen(records)),
        skipped: (count, from, to) => this.take([{ kind: "skipped", count, from, to }]),
        restarted: (from) => {
          // The tail begins anew from the last line's time, so that line and its like come again.
          this.backlog = this.ids();
          this.take([{ kind: "restarted", from }]);
        },
        refused: () => void refresh(),
      },
      since,
    );
    this.line.start();
  }

  /** The tail begins with lines that the backlog has shown already. */
  private unseen(records: LogRecord[]): Row[] {
    if (this.backlog.size === 0) return recordRows(records);
    return recordRows(records.filter((record) => !this.backlog.delete(record.id)));
  }

  /** Lines come in bursts of frames; they are shown once per drawn picture. */
  private take(rows: Row[]): void {
    this.incoming.push(...rows);
    if (this.incoming.length > ROWS_MAX * 2) this.incoming = this.incoming.slice(-ROWS_MAX);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const ready = this.incoming;
      this.incoming = [];
      if (this.following.value) this.add(ready);
      else this.hold(ready);
    });
  }

  private hold(rows: Row[]): void {
    this.held = bounded([...this.held, ...rows]);
    this.waiting.value += lines(rows);
    if (this.held.length < WAITING_MAX || this.waitingFull.value) return;
    this.waitingFull.value = true;
    this.line?.pause(true);
  }

  private add(rows: Row[]): void {
    if (rows.length === 0) return;
    const last = rows.length > ROWS_MAX ? rows.slice(-ROWS_MAX) : rows;
    this.rows.append(last);
    this.rows.dropFront(this.rows.length - ROWS_MAX);
    this.older = "idle";
    this.version.value += 1;
  }

  private ids(): Set<string> {
    const ids = new Set<string>();
    for (const row of [...this.rows.all(), ...this.held, ...this.incoming]) if (row.kind === "record") ids.add(row.record.id);
    return ids;
  }
}
