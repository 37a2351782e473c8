// The live tail's list: newest at the end, following or paused.
import type { RefObject, VNode } from "preact";
import { ErrorMessage, Message } from "../controls/message";
import { Lines } from "../list/lines";
import type { ScrollerHandle } from "../list/scroller";
import { show, view } from "../query/location";
import { tenantNames } from "../session/session";
import { count } from "../text/quantity";
import styles from "./live.module.css";
import type { Tail } from "./tail";

export function Live(props: { tail: Tail; handle: RefObject<ScrollerHandle>; again(): void }): VNode {
  const { tail } = props;
  const connection = tail.connection.value;
  const version = tail.version.value;
  const { q, tenants } = view.value;
  if (connection.kind === "stopped" && connection.error.position !== undefined) {
    return (
      <Message title="This query can't be read">
        <p>Mend it where the caret stands, and press Enter.</p>
      </Message>
    );
  }
  if (connection.kind === "stopped") return <ErrorMessage error={connection.error} again={props.again} actions={[{ text: "Leave the tail", act: () => show({ live: false }) }]} />;
  if (tail.rows.length === 0 && version >= 0 && tail.waiting.value === 0) {
    return (
      <Message title={connection.kind === "open" ? "Waiting for lines" : "Connecting"}>
        <p>{q === "" ? "A line shows here as soon as it is written." : "A line shows here as soon as one is written that matches the query."}</p>
      </Message>
    );
  }
  return (
    <div class={styles["live"]}>
      <Lines
        rows={tail.rows}
        version={tail.version}
        label="Live tail"
        q={q}
        days={false}
        tenants={tenants.length !== 1 && tenantNames.value.length > 1}
        follow={tail.following.value}
        onFollow={(follow) => tail.follow(follow)}
        onEdge={(edge) => (edge === "start" ? void tail.loadOlder() : undefined)}
        after={<div class={styles["foot"]} />}
        handle={props.handle}
      />
      {!tail.following.value && (
        <button type="button" class={styles["pill"]} data-pill onClick={() => tail.follow(true)}>
          <span aria-hidden="true">↓</span>
          {tail.waiting.value === 0 ? "Follow" : `${count(tail.waiting.value)}${tail.waitingFull.value ? "+" : ""} new ${tail.waiting.value === 1 ? "line" : "lines"}`}
          <kbd>End</kbd>
        </button>
      )}
    </div>
  );
}
