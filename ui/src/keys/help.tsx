// What the keys do, and how a query is written.
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import styles from "./help.module.css";
import { useKeys } from "./keys";

const KEYS: readonly (readonly [string, string])[] = [
  ["/", "search"],
  ["f", "live tail; follow and pause"],
  ["End", "to the end; in the tail: follow again"],
  ["w", "wrap long lines"],
  ["j k", "next, previous line"],
  ["Enter", "open the line"],
  ["c", "context of the line"],
  ["Esc", "close; leave the selection"],
  ["?", "this help"],
];

const QUERIES: readonly (readonly [string, string])[] = [
  ["timeout refused", "both words"],
  ['"connection refused"', "the phrase"],
  ["dag_id:etl_daily", "a field"],
  ["level:>=warning", "warning and worse"],
  ["task_id:load*", "begins with"],
  ["*part*", "part of a word"],
  ["/retry \\d+/", "regular expression"],
  ["a OR b, NOT c, -d", "either, without"],
  ["(a OR b) try_number:>1", "brackets, ranges"],
];

export function Help(props: { close(): void }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useKeys({ Escape: props.close, "?": props.close }, true);
  return (
    <dialog
      ref={dialog}
      class={styles["help"]}
      aria-label="Help"
      onCancel={(event) => {
        event.preventDefault();
        props.close();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) props.close();
      }}
    >
      <div class={styles["columns"]}>
        <section>
          <h2>Keys</h2>
          <dl>
            {KEYS.map(([key, text]) => (
              <div key={key}>
                <dt>
                  {key.split(" ").map((one) => (
                    <kbd key={one}>{one}</kbd>
                  ))}
                </dt>
                <dd>{text}</dd>
              </div>
            ))}
          </dl>
        </section>
        <section>
          <h2>Queries</h2>
          <dl>
            {QUERIES.map(([query, text]) => (
              <div key={query}>
                <dt>
                  <code>{query}</code>
                </dt>
                <dd>{text}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
      <p>Drag over the bars to look closer. Click a value of an opened line to search for it.</p>
    </dialog>
  );
}
