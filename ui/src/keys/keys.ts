// Keys that work anywhere on the page, and nowhere while someone types.
import { useEffect, useRef } from "preact/hooks";

export type Keys = Record<string, (event: KeyboardEvent) => void>;

interface Layer {
  keys: () => Keys;
  dialog: boolean;
}

const layers: Layer[] = [];

/** Keys that hold while the component is shown. While a dialog has keys, those of the page beneath rest. */
export function useKeys(keys: Keys, dialog = false): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const layer = { keys: () => latest.current, dialog };
    layers.push(layer);
    return () => {
      layers.splice(layers.indexOf(layer), 1);
    };
  }, [dialog]);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (typing(event.target)) return;
  const dialog = layers.some((layer) => layer.dialog);
  for (const layer of layers) {
    const action = layer.dialog === dialog ? layer.keys()[event.key] : undefined;
    if (!action) continue;
    event.preventDefault();
    action(event);
    return;
  }
});

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  // A checkbox or a button takes no letters.
  return target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}
