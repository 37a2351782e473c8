// The current view, kept equal to the browser's address.
import { computed, signal } from "@preact/signals";
import { type View, formatView, parseView, sameQuestion } from "./view";

const current = signal<View>(parseView(location.search));

/** Counts up when a search is to run again although the view is the same: Enter on the same query. */
export const runs = signal(0);

export const view = computed(() => current.value);

/** Shows another view. A view that asks the same is run again. `replace`: without an entry in the history. */
export function show(change: Partial<View>, replace = false): void {
  const next = { ...current.value, ...change };
  const address = location.pathname + formatView(next);
  const rerun = sameQuestion(next, current.value) && next.line === current.value.line;
  if (address !== location.pathname + location.search) {
    history[replace || rerun ? "replaceState" : "pushState"](null, "", address);
  }
  current.value = next;
  if (rerun) runs.value += 1;
}

export function addressOf(change: Partial<View>): string {
  return location.origin + location.pathname + formatView({ ...current.value, ...change });
}

addEventListener("popstate", () => {
  current.value = parseView(location.search);
});
