// One row of the audit log, and what more there is to it.
import type { VNode } from "preact";
import type { AuditEvent } from "../api/types";
import { escaped } from "../text/escapes";
import { Plain } from "../text/text";
import { type Zone, clock, day, full } from "../text/time";
import { ask } from "./address";
import styles from "./audit.module.css";
import { summary, told } from "./summary";

interface EventProps {
  event: AuditEvent;
  zone: Zone;
  open: boolean;
  selected: boolean;
  /** Whether rows of other tenants may stand beside it. */
  tenants: boolean;
  onToggle(): void;
}

export function EventRow({ event, zone, open, selected, tenants, onToggle }: EventProps): VNode {
  const clicked = () => {
    // A click that ends a selection of text opens nothing.
    if (getSelection()?.isCollapsed !== false) onToggle();
  };
  return (
    <>
      <tr class={styles["row"]} data-event data-selected={selected} data-open={open} onClick={clicked}>
        <td class={styles["time"]}>
          <button type="button" class={styles["opener"]} tabIndex={-1} aria-expanded={open} aria-label={open ? "Hide details" : "Show details"} />
          <time dateTime={event.time} title={`${full(event.time, zone)} ${zone === "utc" ? "UTC" : "local time"}`}>
            <span class={styles["day"]}>{day(event.time, zone)}</span> {clock(event.time, zone).slice(0, 8)}
          </time>
        </td>
        <td>
          <span class={styles["outcome"]} data-outcome={event.outcome}>
            <Plain text={event.outcome} />
          </span>
        </td>
        <td class={styles["name"]} title={escaped(event.actor)}>
          <Actor name={event.actor} />
        </td>
        <td class={styles["name"]}>
          <Plain text={event.action} />
        </td>
        {tenants && (
          <td class={styles["name"]} title={escaped(event.tenant ?? "about no tenant")}>
            {event.tenant === null ? <span class={styles["faint"]}>–</span> : <Plain text={event.tenant} />}
          </td>
        )}
        <td class={`${styles["name"]} ${styles["from"]}`}>
          <Plain text={event.from} />
        </td>
        <td class={styles["about"]}>
          <Plain text={summary(event.details)} />
        </td>
      </tr>
      {open && (
        <tr class={styles["opened"]} data-event-details>
          <td colSpan={tenants ? 7 : 6}>
            <EventDetails event={event} zone={zone} />
          </td>
        </tr>
      )}
    </>
  );
}

/** What kind of actor it is stands back behind its name. */
function Actor({ name }: { name: string }): VNode {
  const border = name.indexOf(":") + 1;
  return (
    <>
      <span class={styles["faint"]}>
        <Plain text={name.slice(0, border)} />
      </span>
      <Plain text={name.slice(border)} />
    </>
  );
}

function EventDetails({ event, zone }: { event: AuditEvent; zone: Zone }): VNode {
  return (
    <dl class={styles["details"]}>
      <dt>time</dt>
      <dd>
        {full(event.time, zone)} {zone === "utc" ? "UTC" : ""}
      </dd>
      <Narrowing name="actor" value={event.actor} />
      <Narrowing name="action" value={event.action} />
      {event.tenant !== null && <Narrowing name="tenant" value={event.tenant} />}
      <dt>outcome</dt>
      <dd>
        <Plain text={event.outcome} />
      </dd>
      {event.from !== "" && (
        <>
          <dt>from</dt>
          <dd>
            <Plain text={event.from} />
          </dd>
        </>
      )}
      {told(event.details).map(([name, value]) => (
        <Detail key={name} name={name} value={value} />
      ))}
      {event.seq !== undefined && <Detail name="row" value={String(event.seq)} />}
      {event.hash !== undefined && <Detail name="hash" value={event.hash} />}
    </dl>
  );
}

function Detail(props: { name: string; value: string }): VNode {
  return (
    <>
      <dt>
        <Plain text={props.name} />
      </dt>
      <dd>
        <Plain text={props.value} />
      </dd>
    </>
  );
}

function Narrowing(props: { name: "actor" | "action" | "tenant"; value: string }): VNode {
  return (
    <>
      <dt>{props.name}</dt>
      <dd>
        <button type="button" class={styles["value"]} title={`Only rows with this ${props.name}`} onClick={() => ask({ [props.name]: props.value })}>
          <Plain text={props.value} />
        </button>
      </dd>
    </>
  );
}
