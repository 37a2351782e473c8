// The page of someone signed in: what is asked above, what was found below.
import type { RefObject, VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { exportUrl } from "./api/client";
import { ContextView } from "./context/context-view";
import controls from "./controls/controls.module.css";
import { Choice, Menu } from "./controls/menu";
import { Message } from "./controls/message";
import { Counts } from "./histogram/counts";
import { HistogramStrip } from "./histogram/histogram";
import { total } from "./histogram/bars";
import { Help } from "./keys/help";
import { useKeys } from "./keys/keys";
import type { ScrollerHandle } from "./list/scroller";
import styles from "./page.module.css";
import { runs, show, view } from "./query/location";
import { QueryBar, QueryError, QueryHidden } from "./query/query-bar";
import { RangePicker } from "./query/range-picker";
import { TenantPicker } from "./query/tenant-picker";
import { formatView, question } from "./query/view";
import { Results } from "./search/results";
import { Search } from "./search/search";
import { AccountMenu } from "./session/account-menu";
import { refresh, tenantNames } from "./session/session";
import { Live } from "./tail/live";
import { TailStatus } from "./tail/status";
import { Tail } from "./tail/tail";
import { escaped } from "./text/escapes";
import { bytes, counted, duration } from "./text/quantity";
import { Logo } from "./theme/logo";
import { wrap } from "./theme/preferences";

/** How often the counts are asked for while the tail runs: they show the last minutes only. */
const LIVE_COUNTS_MS = 10_000;

export function Page(): VNode {
  const search = useMemo(() => new Search(), []);
  const tail = useMemo(() => new Tail(), []);
  const counts = useMemo(() => new Counts(), []);
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<ScrollerHandle>(null);
  const [help, setHelp] = useState(false);
  useRunning(search, tail, counts);
  usePageKeys(tail, input, () => setHelp(true));
  useTitle();

  const { q, live, line } = view.value;
  const tailState = tail.connection.value;
  const error = live ? (tailState.kind === "stopped" ? tailState.error : null) : search.state.value.kind === "failed" ? search.state.value.error : null;
  const broken = error?.position !== undefined;
  return (
    <main class={styles["page"]}>
      <header class={styles["head"]}>
        <div class={styles["brand"]} title="Heliograph">
          <Logo />
        </div>
        <TenantPicker />
        <div class={styles["query"]}>
          <QueryBar input={input} broken={broken} />
        </div>
        <RangePicker range={view.value.range} idle={live} choose={(range) => show({ range, live: false, line: null })} />
        <button
          type="button"
          class={`${controls["button"]} ${styles["liveButton"]}`}
          aria-pressed={live}
          title={live ? "Leave the live tail" : "Show lines as they are written (f)"}
          onClick={() => show({ live: !live, line: null })}
        >
          <span class={styles["liveDot"]} aria-hidden="true" />
          Live
        </button>
        <AccountMenu page="logs" help={() => setHelp(true)} />
      </header>
      {broken && error ? <QueryError query={q} error={error} /> : <QueryHidden query={q} />}
      {tenantNames.value.length === 0 ? (
        <NoTenants />
      ) : (
        <>
          <HistogramStrip data={counts.data.value} loading={counts.loading.value && !live} />
          <Status search={search} tail={tail} counts={counts} />
          {live ? <Live tail={tail} handle={list} again={() => void tail.run(question(view.value))} /> : <Results search={search} handle={list} />}
        </>
      )}
      {line !== null && <ContextView id={line} />}
      {help && <Help close={() => setHelp(false)} />}
    </main>
  );
}

/** Runs what the view asks for, anew whenever it asks for something else. */
function useRunning(search: Search, tail: Tail, counts: Counts): void {
  const now = view.value;
  const asked = `${formatView({ ...now, line: null })} ${runs.value}`;
  useEffect(() => {
    const asking = question(now);
    if (!now.live) {
      search.run(asking, now.order);
      void counts.run(asking);
      return () => {
        search.stop();
        counts.stop();
      };
    }
    const recent = { q: asking.q, tenants: asking.tenants, start: "now-15m" };
    void tail.run(asking);
    void counts.run(recent);
    const timer = setInterval(() => {
      if (!document.hidden) void counts.run(recent, true);
    }, LIVE_COUNTS_MS);
    const hurry = () => tail.hurry();
    addEventListener("online", hurry);
    document.addEventListener("visibilitychange", hurry);
    return () => {
      clearInterval(timer);
      removeEventListener("online", hurry);
      document.removeEventListener("visibilitychange", hurry);
      tail.stop();
      counts.stop();
    };
    // Only `asked` says what is asked: `line` and the order of names do not.
  }, [asked]);
}

/** The query in the window's title, so that tabs and the history tell views apart. */
function useTitle(): void {
  const { q, live } = view.value;
  const title = [live ? "Live" : "", q === "" ? "" : escaped(q.slice(0, 80)), "Heliograph"].filter((part) => part !== "").join(" · ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}

function usePageKeys(tail: Tail, input: RefObject<HTMLInputElement>, help: () => void): void {
  useKeys({
    "/": () => {
      input.current?.focus();
      input.current?.select();
    },
    f: () => {
      if (!view.value.live) show({ live: true, line: null });
      else tail.follow(!tail.following.value);
    },
    w: () => {
      wrap.value = !wrap.value;
    },
    "?": help,
  });
}

function Status(props: { search: Search; tail: Tail; counts: Counts }): VNode {
  const { live, order } = view.value;
  return (
    <div class={styles["status"]}>
      <div class={styles["said"]}>{live ? <TailStatus tail={props.tail} /> : <Found search={props.search} counts={props.counts} />}</div>
      {!live && (
        <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} title="Turn the order" onClick={() => show({ order: order === "desc" ? "asc" : "desc" })}>
          {order === "desc" ? "Newest first ↓" : "Oldest first ↓"}
        </button>
      )}
      <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} aria-pressed={wrap.value} title="Wrap long lines (w)" onClick={() => (wrap.value = !wrap.value)}>
        Wrap
      </button>
      {!live && <ExportMenu />}
    </div>
  );
}

/** How many lines there are, and what it took to find them. */
function Found({ search, counts }: { search: Search; counts: Counts }): VNode {
  const state = search.state.value;
  const stats = search.stats.value;
  const data = counts.data.value;
  if (state.kind === "loading" && state.first) return <span>Searching…</span>;
  if (state.kind === "failed" && search.rows.length === 0) return <span />;
  const scanned = [
    stats.elapsed_ms !== undefined && duration(stats.elapsed_ms),
    stats.bytes !== undefined && `${bytes(stats.bytes)} read`,
  ].filter((text) => text !== false);
  const title = `${counted(stats.segments ?? 0, "segment")}, ${counted(stats.blocks ?? 0, "block")} looked at`;
  return (
    <>
      {data && <strong class={styles["total"]}>{counted(total(data), "line")}</strong>}
      <span class={styles["scanned"]} title={title}>
        {scanned.join(" · ")}
      </span>
      {!search.complete.value && (
        <span class={styles["incomplete"]} title="A part of the store could not be searched in time. Search again, or choose a shorter range.">
          Lines may be missing
        </span>
      )}
    </>
  );
}

function ExportMenu(): VNode {
  const formats = [
    ["text", "Plain text", ".log"],
    ["ndjson", "JSON, one record a line", ".ndjson"],
    ["csv", "Table", ".csv"],
  ] as const;
  return (
    <Menu label="Export" name="Export all matching lines" align="end" class={styles["export"]}>
      {(close) =>
        formats.map(([format, name, extension]) => (
          <Choice
            key={format}
            hint={extension}
            onClick={() => {
              const link = document.createElement("a");
              link.href = exportUrl(question(view.value), format);
              link.download = `heliograph${extension}`;
              link.click();
              close();
            }}
          >
            {name}
          </Choice>
        ))
      }
    </Menu>
  );
}

function NoTenants(): VNode {
  return (
    <Message title="Nothing to read yet" actions={[{ text: "Look again", act: () => void refresh() }]}>
      <p>You have no role in any tenant. Ask an administrator for the role viewer, or, as one yourself:</p>
      <p>
        <code>heliograph admin tenant create NAME</code>
      </p>
    </Message>
  );
}
