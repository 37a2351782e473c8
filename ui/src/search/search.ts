// One running search: its rows so far, page by page in both directions, and what the server said of it.
import { signal } from "@preact/signals";
import * as api from "../api/client";
import type { Question } from "../api/client";
import { type ApiError, toApiError } from "../api/error";
import type { LogRecord, SearchPage, SearchStats } from "../api/types";
import { RowWindow } from "../list/row-window";
import { ROW_PIXELS, type Row, recordRows } from "../list/rows";

/** Lines asked for at once: several screens, in one answer of some 100 kB. */
const PAGE_ROWS = 200;
/** Rows held in memory; pages beyond are dropped at the far end and asked for again on the way back. */
export const ROWS_MAX = 10_000;
/** Empty pages passed over by ourselves, before the reader is asked whether to look further. */
const EMPTY_PAGES_MAX = 5;

export type SearchState =
  | { kind: "idle" }
  | { kind: "loading"; first: boolean }
  | { kind: "ready"; done: boolean }
  | { kind: "failed"; error: ApiError };

interface Page {
  /** What it was asked with; null for the first. */
  cursor: string | null;
  count: number;
  /** The first page is kept: asked for again, "the last hour" would begin elsewhere. */
  kept: LogRecord[] | null;
}

export class Search {
  rows = new RowWindow<Row>(ROW_PIXELS);
  readonly version = signal(0);
  readonly state = signal<SearchState>({ kind: "idle" });
  readonly stats = signal<SearchStats>({});
  /** False when some answer said that a part of the store was not searched. */
  readonly complete = signal(true);

  private question: Question = { q: "", tenants: [] };
  private order: "desc" | "asc" = "desc";
  private pages: Page[] = [];
  /** The pages whose rows are held: from `held` up to, and not with, `heldEnd`. */
  private held = 0;
  private heldEnd = 0;
  /** The cursor after the last page we know; null: there is no more. */
  private next: string | null = null;
  private abort = new AbortController();
  private busy = false;

  run(question: Question, order: "desc" | "asc"): void {
    this.stop();
    this.question = question;
    this.order = order;
    this.rows = new RowWindow<Row>(ROW_PIXELS);
    this.pages = [];
    this.held = 0;
    this.heldEnd = 0;
    this.next = null;
    this.complete.value = true;
    this.stats.value = {};
    this.version.value += 1;
    void this.load(null);
  }

  stop(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.busy = false;
  }

  /** The next page, if there is one and the last call did not fail. */
  more(): void {
    if (this.busy || this.state.value.kind !== "ready") return;
    this.further();
  }

  /** As `more`, also after a failure or when the automatic search stopped: the reader asked for it. */
  further(): void {
    if (this.busy) return;
    const known = this.pages[this.heldEnd];
    if (known) void this.load(known.cursor);
    else if (this.pages.length === 0) void this.load(null);
    else if (this.next !== null) void this.load(this.next);
  }

  /** Puts the page before the held ones back. */
  async back(): Promise<void> {
    const page = this.pages[this.held - 1];
    if (this.busy || !page) return;
    const records = page.kept ?? (await this.ask(page.cursor))?.records;
    if (!records) return;
    this.rows.prepend(recordRows(records));
    this.held -= 1;
    while (this.rows.length > ROWS_MAX && this.heldEnd - this.held > 1) {
      this.heldEnd -= 1;
      this.rows.dropBack(this.pages[this.heldEnd]?.count ?? 0);
    }
    this.state.value = { kind: "ready", done: false };
    this.version.value += 1;
  }

  private async load(cursor: string | null): Promise<void> {
    let at = cursor;
    for (let empty = 0; empty < EMPTY_PAGES_MAX; empty += 1) {
      const page = await this.ask(at);
      if (!page) return;
      this.add(page, at);
      if (page.records.length > 0 || this.next === null) break;
      at = this.next;
    }
    this.state.value = { kind: "ready", done: this.next === null && this.heldEnd === this.pages.length };
    this.version.value += 1;
  }

  private add(answer: SearchPage, cursor: string | null): void {
    const page: Page = { cursor, count: answer.records.length, kept: cursor === null ? answer.records : null };
    if (this.heldEnd === this.pages.length) {
      this.next = answer.next_cursor;
      this.pages.push(page);
    } else {
      this.pages[this.heldEnd] = page;
    }
    this.heldEnd += 1;
    this.rows.append(recordRows(answer.records));
    while (this.rows.length > ROWS_MAX && this.heldEnd - this.held > 1) {
      this.rows.dropFront(this.pages[this.held]?.count ?? 0);
      this.held += 1;
    }
    if (!answer.complete) this.complete.value = false;
    this.stats.value = summed(this.stats.value, answer.stats ?? {});
  }

  /** One call; null when it failed, which `state` then says, or was given up. */
  private async ask(cursor: string | null): Promise<SearchPage | null> {
    const { signal } = this.abort;
    this.busy = true;
    this.state.value = { kind: "loading", first: this.pages.length === 0 };
    try {
      const page = await api.search(this.question, { limit: PAGE_ROWS, order: this.order, cursor, signal });
      return signal.aborted ? null : page;
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error && !signal.aborted) this.state.value = { kind: "failed", error };
      return null;
    } finally {
      if (!signal.aborted) this.busy = false;
    }
  }
}

function summed(left: SearchStats, right: SearchStats): SearchStats {
  return {
    segments: (left.segments ?? 0) + (right.segments ?? 0),
    blocks: (left.blocks ?? 0) + (right.blocks ?? 0),
    bytes: (left.bytes ?? 0) + (right.bytes ?? 0),
    elapsed_ms: (left.elapsed_ms ?? 0) + (right.elapsed_ms ?? 0),
  };
}
