// The query: a text field that colours what is typed, and says where a mistake is.
import type { RefObject, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api/error";
import controls from "../controls/controls.module.css";
import { escaped, hides } from "../text/escapes";
import { Plain } from "../text/text";
import { show, view } from "./location";
import styles from "./query-bar.module.css";
import { split } from "./split";
import { tokens } from "./terms";

export function QueryBar(props: { input: RefObject<HTMLInputElement>; broken: boolean }): VNode {
  const { q } = view.value;
  const [draft, setDraft] = useState(q);
  const paint = useRef<HTMLDivElement>(null);
  useEffect(() => setDraft(q), [q]);

  const follow = (event: Event) => {
    if (paint.current) paint.current.scrollLeft = (event.currentTarget as HTMLInputElement).scrollLeft;
  };
  const submit = (event: Event) => {
    event.preventDefault();
    show({ q: draft.trim(), line: null });
  };
  const escape = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    // First back to the query that is shown, then out of the field.
    if (draft === q) (event.currentTarget as HTMLInputElement).blur();
    else setDraft(q);
  };
  return (
    <form class={styles["bar"]} role="search" onSubmit={submit} data-broken={props.broken}>
      <svg class={styles["glass"]} viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="7" cy="7" r="4.2" />
        <path d="m10.2 10.2 3.3 3.3" />
      </svg>
      <div class={styles["field"]}>
        <div ref={paint} class={styles["paint"]} aria-hidden="true">
          <Painted query={draft} />
        </div>
        <input
          ref={props.input}
          class={styles["input"]}
          type="text"
          value={draft}
          name="q"
          aria-label="Search the logs"
          aria-invalid={props.broken}
          placeholder={'Search, for example  level:>=warning dag_id:"my_dag" timeout'}
          autocomplete="off"
          autocapitalize="off"
          autocorrect="off"
          spellcheck={false}
          maxLength={10_000}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onScroll={follow}
          onKeyDown={escape}
        />
      </div>
      {draft !== "" && (
        <button type="button" class={styles["clear"]} title="Clear the query" aria-label="Clear the query" onClick={() => show({ q: "", line: null })}>
          ×
        </button>
      )}
      {draft === "" && <kbd title="Press / to search">/</kbd>}
      {draft.trim() !== q && (
        <button type="submit" class={styles["enter"]}>
          Search <span aria-hidden="true">↵</span>
        </button>
      )}
    </form>
  );
}

function Painted({ query }: { query: string }): VNode {
  const parts: (string | VNode)[] = [];
  let at = 0;
  for (const token of tokens(query)) {
    if (token.start > at) parts.push(query.slice(at, token.start));
    parts.push(
      <span key={token.start} class={styles[token.kind === "field" ? "name" : token.kind]}>
        {token.text}
      </span>,
    );
    at = token.end;
  }
  parts.push(query.slice(at));
  return <>{parts}</>;
}

/** A query that hides something, as one from a shared address may: what it really says. */
export function QueryHidden(props: { query: string }): VNode | null {
  if (!hides(props.query)) return null;
  return (
    <div class={styles["error"]} role="status">
      <pre class={styles["quote"]}>
        <Plain text={props.query} />
      </pre>
      <p class={styles["words"]}>The query has characters that do not show.</p>
      <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} onClick={() => show({ q: "", line: null })}>
        Clear the query
      </button>
    </div>
  );
}

/** The query as the server saw it, with a caret under the place that it could not read. */
export function QueryError(props: { query: string; error: ApiError }): VNode {
  const { before, at, after } = split(props.query, props.error.position ?? 0);
  return (
    <div class={styles["error"]} role="alert">
      <pre class={styles["quote"]}>
        {escaped(before)}
        <span class={styles["caret"]}>{at === "" ? " " : escaped(at)}</span>
        {escaped(after)}
      </pre>
      <p class={styles["words"]}>
        <strong>{sentence(props.error.message)}</strong> {props.error.hint !== undefined && sentence(props.error.hint)}
      </p>
      <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} onClick={() => show({ q: "", line: null })}>
        Clear the query
      </button>
    </div>
  );
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
