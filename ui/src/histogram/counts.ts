// The counts over time that belong to the view, asked for anew with it.
import { signal } from "@preact/signals";
import * as api from "../api/client";
import type { Question } from "../api/client";
import { toApiError } from "../api/error";
import type { Histogram } from "../api/types";

export class Counts {
  readonly data = signal<Histogram | null>(null);
  readonly loading = signal(false);
  private abort = new AbortController();

  /** `keep`: show the old counts until the new ones are there, for a view that only moved on. */
  async run(question: Question, keep = false): Promise<void> {
    this.stop();
    const { signal } = this.abort;
    if (!keep) this.data.value = null;
    this.loading.value = true;
    try {
      const data = await api.histogram(question, signal);
      if (!signal.aborted) this.data.value = data;
    } catch (thrown) {
      // The list beside it reports the same trouble, with words; the strip stays empty.
      if (toApiError(thrown) !== null && !signal.aborted && !keep) this.data.value = null;
    } finally {
      if (!signal.aborted) this.loading.value = false;
    }
  }

  stop(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.loading.value = false;
  }
}
