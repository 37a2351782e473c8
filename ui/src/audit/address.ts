// What is asked of the audit log now, kept equal to the browser's address.
import { computed, signal } from "@preact/signals";
import { type Asked, formatAsked, parseAsked } from "./asked";

const current = signal<Asked>(parseAsked(location.search));

/** Counts up when the same is asked again. */
export const runs = signal(0);

export const asked = computed(() => current.value);

/** Asks something else; asks again if it is the same. */
export function ask(change: Partial<Asked>): void {
  const next = { ...current.value, ...change };
  const address = formatAsked(next);
  if (address === formatAsked(current.value)) runs.value += 1;
  else history.pushState(null, "", location.pathname + address);
  current.value = next;
}

addEventListener("popstate", () => {
  current.value = parseAsked(location.search);
});
