// How this reader likes the page: kept in this browser only, never in the address.
import { effect, signal } from "@preact/signals";
import type { Zone } from "../text/time";

export type Theme = "system" | "light" | "dark";

export const wrap = stored("wrap", false, (value) => typeof value === "boolean");
export const zone = stored<Zone>("zone", "local", (value) => value === "local" || value === "utc");
export const theme = stored<Theme>("theme", "system", (value) => value === "system" || value === "light" || value === "dark");

/** A signal that survives a reload. What another version of the page left there is checked first. */
function stored<T>(name: string, first: T, valid: (value: unknown) => boolean) {
  const key = `heliograph.${name}`;
  const kept = signal(read(key, first, valid));
  effect(() => {
    try {
      localStorage.setItem(key, JSON.stringify(kept.value));
    } catch {
      // Storage may be forbidden or full; the choice then lasts as long as the page.
    }
  });
  return kept;
}

function read<T>(key: string, first: T, valid: (value: unknown) => boolean): T {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(key) ?? "null");
    return valid(value) ? (value as T) : first;
  } catch {
    return first;
  }
}

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
});
