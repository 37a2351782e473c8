// The results of a search: the list, and what stands in its place or at its end.
import type { RefObject, VNode } from "preact";
import { ErrorMessage, Message } from "../controls/message";
import type { Action } from "../controls/message";
import { Lines } from "../list/lines";
import type { ScrollerHandle } from "../list/scroller";
import { show, view } from "../query/location";
import { rangeName, spansDays, wider } from "../query/range";
import { tenantNames } from "../session/session";
import { zone } from "../theme/preferences";
import styles from "./results.module.css";
import type { Search } from "./search";

export function Results(props: { search: Search; handle: RefObject<ScrollerHandle> }): VNode {
  const { search } = props;
  const state = search.state.value;
  // Read before the rows, which are not a signal themselves.
  const version = search.version.value;
  const { q, tenants, range } = view.value;
  if (search.rows.length === 0 && version >= 0) {
    if (state.kind === "failed") return <Failed search={search} />;
    if (state.kind === "ready") return state.done ? <Nothing /> : <NotYet search={search} />;
    return <div class={styles["wait"]} role="status" aria-label="Searching" />;
  }
  return (
    <Lines
      rows={search.rows}
      version={search.version}
      label="Search results"
      q={q}
      days={spansDays(range)}
      tenants={tenants.length !== 1 && tenantNames.value.length > 1}
      onEdge={(edge) => (edge === "end" ? search.more() : void search.back())}
      after={<End search={search} />}
      handle={props.handle}
    />
  );
}

function End({ search }: { search: Search }): VNode {
  const state = search.state.value;
  if (state.kind === "failed") {
    return (
      <div class={styles["end"]} role="alert">
        <span>The next lines could not be had: {state.error.message}</span>
        <button type="button" onClick={() => search.further()}>
          Try again
        </button>
      </div>
    );
  }
  if (state.kind === "ready" && state.done) return <div class={styles["end"]}>{view.value.order === "desc" ? "No older lines in this range." : "No newer lines in this range."}</div>;
  return <div class={styles["end"]}>Loading more…</div>;
}

function Failed({ search }: { search: Search }): VNode {
  const state = search.state.value;
  if (state.kind !== "failed") return <></>;
  const { error } = state;
  if (error.position !== undefined) {
    return (
      <Message title="This query can't be read">
        <p>Mend it where the caret stands, and press Enter.</p>
      </Message>
    );
  }
  const all: Action[] = error.status === 403 && view.value.tenants.length > 0 ? [{ text: "Show all that I may read", act: () => show({ tenants: [] }) }] : [];
  return <ErrorMessage error={error} again={() => search.further()} actions={all} />;
}

/** Nothing so far, and more to look through: the reader decides, as it may take long. */
function NotYet({ search }: { search: Search }): VNode {
  return (
    <Message title="Nothing found so far" actions={[{ text: "Search further", act: () => search.further() }]}>
      <p>The newest part of {rangeName(view.value.range, zone.value).toLowerCase()} holds no match. Searching the rest may take a while.</p>
    </Message>
  );
}

function Nothing(): VNode {
  const { q, range, tenants } = view.value;
  const more = wider(range);
  const actions: Action[] = [];
  if (more) actions.push({ text: more.kind === "all" ? "Search all time" : `Search the ${rangeName(more, zone.value).toLowerCase()}`, act: () => show({ range: more }) });
  if (q !== "") actions.push({ text: "Clear the query", act: () => show({ q: "" }) });
  actions.push({ text: "Watch live", act: () => show({ live: true }) });
  if (tenants.length > 0) actions.push({ text: "Look in all tenants", act: () => show({ tenants: [] }) });
  if (q === "" && more === null) {
    return (
      <Message title="No logs yet">
        <p>
          Nothing has arrived for {tenants.length > 0 ? "this choice of tenants" : "any tenant that you may read"}. Start an agent where Airflow writes its logs: <code>heliograph up --logs '/path/*.log'</code>
        </p>
      </Message>
    );
  }
  return (
    <Message title="No lines match" actions={actions}>
      <p>
        {q === "" ? "There are no lines" : "Nothing matches this query"} in {range.kind === "all" ? "all time" : `the range “${rangeName(range, zone.value)}”`}.
        {q !== "" && !/["*:/]/.test(q) && " Words match whole: for a part of a word write *part*."}
      </p>
    </Message>
  );
}
