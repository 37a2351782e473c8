// The sign of the program: a mirror, and the short and long flash it sends.
import type { VNode } from "preact";
import styles from "./logo.module.css";

export function Logo(): VNode {
  return (
    <svg class={styles["logo"]} viewBox="0 0 32 32" aria-hidden="true">
      <circle cx="11" cy="21" r="7" />
      <path d="M19 13h.01M23.5 8.5 27 5" />
    </svg>
  );
}
