// What the tail is doing, in a few words and one button.
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { counted } from "../text/quantity";
import controls from "../controls/controls.module.css";
import styles from "./live.module.css";
import type { Tail } from "./tail";

export function TailStatus({ tail }: { tail: Tail }): VNode {
  const { dot, words } = useWords(tail);
  const following = tail.following.value;
  return (
    <>
      <span class={styles["dot"]} data-state={dot} aria-hidden="true" />
      <span role="status" data-tail={dot}>
        {words}
      </span>
      <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} onClick={() => tail.follow(!following)} title="f">
        {following ? "Pause" : "Follow"} <kbd>f</kbd>
      </button>
    </>
  );
}

function useWords(tail: Tail): { dot: string; words: string } {
  const connection = tail.connection.value;
  const left = useSecondsUntil(connection.kind === "waiting" ? connection.until : null);
  const held = tail.version.value >= 0 ? tail.rows.length : 0;
  switch (connection.kind) {
    case "connecting":
      return { dot: "waiting", words: connection.tries > 1 ? "Reconnecting…" : "Connecting…" };
    case "waiting":
      return { dot: "waiting", words: left > 0 ? `Connection lost. It goes on where it broke off, in ${left} s.` : "Reconnecting…" };
    case "stopped":
      return { dot: "stopped", words: "Stopped" };
    case "open":
      return tail.following.value ? { dot: "on", words: `Following, ${counted(held, "line")}` } : { dot: "paused", words: "Paused" };
  }
}

function useSecondsUntil(until: number | null): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (until === null) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [until]);
  return until === null ? 0 : Math.max(0, Math.ceil((until - now) / 1000));
}
