// The audit log, for operators and administrators: what is asked above, the rows below.
import type { RefObject, VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { auditExportUrl } from "../api/client";
import type { ApiError } from "../api/error";
import type { AuditEvent } from "../api/types";
import controls from "../controls/controls.module.css";
import { ErrorMessage, Message } from "../controls/message";
import { useKeys } from "../keys/keys";
import { wider } from "../query/range";
import { RangePicker } from "../query/range-picker";
import { AccountMenu } from "../session/account-menu";
import { isAdmin, operatedNames } from "../session/session";
import { escaped } from "../text/escapes";
import { counted } from "../text/quantity";
import { Logo } from "../theme/logo";
import { zone } from "../theme/preferences";
import { grouped } from "./actions";
import { ask, asked, runs } from "./address";
import { actorNamed, formatAsked, question } from "./asked";
import { AuditLog, ROWS_MAX } from "./audit-log";
import styles from "./audit.module.css";
import { EventRow } from "./event-row";

/** So far from the end of the list, the next rows are fetched. */
const NEAR_END_PIXELS = 600;

export function AuditPage(): VNode {
  const log = useMemo(() => new AuditLog(), []);
  const actor = useRef<HTMLInputElement>(null);
  const now = asked.value;
  const address = `${formatAsked(now)} ${runs.value}`;
  useEffect(() => {
    log.run(question(now));
    return () => log.stop();
    // Only `address` says what is asked.
  }, [address]);
  useEffect(() => {
    document.title = "Audit log · Heliograph";
  }, []);
  const rows = log.rows.value;
  return (
    <main class={styles["page"]}>
      <header class={styles["head"]}>
        <a class={styles["brand"]} href="/" title="To the logs">
          <Logo />
        </a>
        <h1>Audit log</h1>
        <span class={styles["gap"]} />
        <RangePicker range={now.range} choose={(range) => ask({ range })} />
        <AccountMenu page="audit" />
      </header>
      <div class={styles["filters"]}>
        <Filters actor={actor} rows={rows} />
        <span class={styles["said"]} role="status">
          {said(log)}
        </span>
        <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} title="Look for newer rows (r)" onClick={() => ask({})}>
          Refresh
        </button>
        <a class={`${controls["button"]} ${controls["quiet"]}`} href={auditExportUrl(question(now))} download="audit.ndjson" title="All these rows, one a line, as JSON">
          Export
        </a>
      </div>
      <Rows log={log} actor={actor} />
    </main>
  );
}

function said(log: AuditLog): string {
  const count = log.rows.value.length;
  if (log.state.value.kind === "loading") return count === 0 ? "Loading…" : `${counted(count, "row")}, loading more…`;
  if (count === 0) return "";
  return log.state.value.kind === "end" ? counted(count, "row") : `the newest ${counted(count, "row")}`;
}

function Filters(props: { actor: RefObject<HTMLInputElement>; rows: readonly AuditEvent[] }): VNode {
  const { tenant, action, actor } = asked.value;
  const [draft, setDraft] = useState(actor);
  useEffect(() => setDraft(actor), [actor]);
  const operated = operatedNames.value;
  // A shared address may name a tenant that is not ours: it is shown, so that it can be left.
  const tenants = tenant === "" || operated.includes(tenant) ? operated : [tenant, ...operated];
  const actors = [...new Set(props.rows.map((event) => event.actor))].toSorted();
  // Enter changes the field and sends the form: the second finds nothing new.
  const submit = (event: Event) => {
    event.preventDefault();
    const named = actorNamed(draft);
    setDraft(named);
    if (named !== asked.value.actor) ask({ actor: named });
  };
  return (
    <>
      <label>
        <span>Tenant</span>
        <select name="tenant" value={tenant} onChange={(event) => ask({ tenant: event.currentTarget.value })}>
          <option value="">{isAdmin.value ? "All, and the platform" : "All that I operate"}</option>
          {tenants.map((name) => (
            <option key={name} value={name}>
              {escaped(name)}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span>Action</span>
        <select name="action" value={action} onChange={(event) => ask({ action: event.currentTarget.value })}>
          <option value="">All</option>
          {grouped([action, ...props.rows.map((event) => event.action)]).map(([group, actions]) => (
            <optgroup key={group} label={group}>
              {actions.map((name) => (
                <option key={name} value={name}>
                  {escaped(name)}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      </label>
      <form onSubmit={submit}>
        <label>
          <span>Actor</span>
          <input
            ref={props.actor}
            type="text"
            name="actor"
            list="actors"
            placeholder="user:ann"
            title="A person, or token:…, forwarded:…, platform:…, agent:…, uid:…, service, nobody (/)"
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            maxLength={200}
            value={draft}
            onInput={(event) => setDraft(event.currentTarget.value)}
            onChange={submit}
            onKeyDown={(event) => {
              if (event.key === "Escape") event.currentTarget.blur();
            }}
          />
        </label>
        <datalist id="actors">
          {actors.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </form>
      {(tenant !== "" || action !== "" || actor !== "") && (
        <button type="button" class={`${controls["button"]} ${controls["quiet"]}`} onClick={() => ask({ tenant: "", action: "", actor: "" })}>
          Clear
        </button>
      )}
    </>
  );
}

function Rows({ log, actor }: { log: AuditLog; actor: RefObject<HTMLInputElement> }): VNode {
  const rows = log.rows.value;
  const state = log.state.value;
  const list = useRef<HTMLDivElement>(null);
  const { open, selected, toggle } = useReading(log, list, actor);
  if (rows.length === 0 && state.kind === "failed") return <Refused error={state.error} />;
  if (rows.length === 0 && state.kind === "end") return <Nothing />;
  const tenants = asked.value.tenant === "";
  const scrolled = () => {
    const element = list.current;
    if (element && element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PIXELS) log.older();
  };
  return (
    <div ref={list} class={styles["list"]} onScroll={scrolled} tabIndex={0} aria-label="Rows of the audit log" role="region">
      <table class={styles["table"]} data-tenants={tenants}>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Outcome</th>
            <th scope="col">Actor</th>
            <th scope="col">Action</th>
            {tenants && <th scope="col">Tenant</th>}
            <th scope="col" class={styles["from"]}>
              From
            </th>
            <th scope="col">About</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((event, index) => (
            <EventRow key={index} event={event} zone={zone.value} open={open.has(index)} selected={index === selected} tenants={tenants} onToggle={() => toggle(index)} />
          ))}
        </tbody>
      </table>
      <Foot log={log} />
    </div>
  );
}

/** Which rows are open and which is selected, and the keys for that. */
function useReading(log: AuditLog, list: RefObject<HTMLDivElement>, actor: RefObject<HTMLInputElement>) {
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const [selected, select] = useState<number | null>(null);
  const run = `${formatAsked(asked.value)} ${runs.value}`;
  useEffect(() => {
    setOpen(new Set());
    select(null);
  }, [run]);
  useEffect(() => {
    list.current?.querySelector("[data-event][data-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  const toggle = (index: number) => {
    setOpen((before) => {
      const after = new Set(before);
      if (!after.delete(index)) after.add(index);
      return after;
    });
  };
  const move = (step: number) => {
    const last = log.rows.value.length - 1;
    if (last < 0) return;
    const from = selected ?? (step > 0 ? -1 : last + 1);
    select(Math.min(Math.max(from + step, 0), last));
    if (from + step > last - 10) log.older();
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: (event) => {
      // The key belongs to the control that has the focus, if one has.
      if (event.target instanceof HTMLElement && event.target.matches("button, a")) event.target.click();
      else if (selected !== null) toggle(selected);
    },
    Escape: () => {
      setOpen(new Set());
      select(null);
    },
    "/": () => {
      actor.current?.focus();
      actor.current?.select();
    },
    r: () => ask({}),
  });
  return { open, selected, toggle };
}

function Foot({ log }: { log: AuditLog }): VNode {
  const state = log.state.value;
  return (
    <div class={styles["foot"]} data-foot={state.kind}>
      {state.kind === "loading" && "Loading…"}
      {state.kind === "more" && (
        <button type="button" class={controls["button"]} onClick={() => log.older()}>
          Older rows
        </button>
      )}
      {state.kind === "end" && "These are all."}
      {state.kind === "full" && `More than ${ROWS_MAX} rows: choose a shorter range or a filter, or export them.`}
      {state.kind === "failed" && (
        <>
          <span role="alert">Older rows could not be fetched: {state.error.message}.</span>
          <button type="button" class={controls["button"]} onClick={() => log.older()}>
            Try again
          </button>
        </>
      )}
    </div>
  );
}

function Refused({ error }: { error: ApiError }): VNode {
  const { tenant } = asked.value;
  if (error.status !== 403 && error.status !== 404) return <ErrorMessage error={error} again={() => ask({})} />;
  return (
    <Message
      title="Not yours to read"
      actions={tenant === "" ? [{ text: "To the logs", act: () => location.assign("/") }] : [{ text: "Show all that I may read", act: () => ask({ tenant: "" }) }]}
    >
      <p>
        {tenant === ""
          ? "The audit log is read by operators of a tenant, each that of their own, and by platform administrators. Ask an administrator for the role operator."
          : "This tenant does not exist, or you do not operate it."}
      </p>
    </Message>
  );
}

function Nothing(): VNode {
  const { tenant, action, actor, range } = asked.value;
  const next = wider(range);
  const actions = [
    ...(next === null ? [] : [{ text: next.kind === "all" ? "Look at all time" : "Look further back", act: () => ask({ range: next }) }]),
    ...(tenant + action + actor === "" ? [] : [{ text: "Clear the filters", act: () => ask({ tenant: "", action: "", actor: "" }) }]),
  ];
  return (
    <Message title="No rows" actions={actions}>
      <p>Nothing of this kind was recorded in this time. A row is there a second after what it records.</p>
    </Message>
  );
}
