// An opened line: the whole message, its fields, and what can be done from there.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { LogRecord } from "../api/types";
import { copy } from "../controls/clipboard";
import { addressOf, show, view } from "../query/location";
import { term, withTerm } from "../query/terms";
import { parseAnsi } from "../text/ansi";
import { escaped, escapedJson } from "../text/escapes";
import { bytes } from "../text/quantity";
import { LogText, Plain } from "../text/text";
import { type Zone, full } from "../text/time";
import styles from "./details.module.css";
import { type Field, attributesOf, fieldsOf } from "./fields";

/** So much of a message is shown at once; a message may have a megabyte. */
const MESSAGE_CHARACTERS = 20_000;

export function Details(props: { record: LogRecord; zone: Zone; pattern: RegExp | null }): VNode {
  const { record } = props;
  return (
    <div class={styles["details"]} data-details>
      <Actions record={record} />
      <Message text={record.message} pattern={props.pattern} />
      <dl class={styles["tables"]}>
        <div class={styles["field"]}>
          <dt>@timestamp</dt>
          <dd>
            {full(record["@timestamp"], props.zone)} <span class={styles["zone"]}>{props.zone === "utc" ? "UTC" : zoneName(record["@timestamp"])}</span>
          </dd>
        </div>
        {record.tenant !== undefined && <TenantRow name={record.tenant} />}
        {[...fieldsOf(record), ...attributesOf(record)].map((field) => (
          <FieldRow key={field.name} field={field} />
        ))}
      </dl>
    </div>
  );
}

function Actions({ record }: { record: LogRecord }): VNode {
  const log = record.log_id;
  return (
    <div class={styles["actions"]}>
      <button type="button" onClick={() => show({ line: record.id })} title="The lines around this one, in the order of their file (c)">
        Context
      </button>
      {log !== undefined && (
        <button
          type="button"
          title="Every line of this try of the task, from its beginning"
          onClick={() => show({ q: term("log_id", log), range: { kind: "all" }, order: "asc", live: false, line: null })}
        >
          Whole task log
        </button>
      )}
      <span class={styles["gap"]} />
      <CopyButton text={() => escaped(parseAnsi(record.message).plain)} title="As it is shown: without colours, hidden characters as escapes. Copy JSON has the true text.">
        Copy message
      </CopyButton>
      <CopyButton text={() => escapedJson(JSON.stringify(record, null, 2))} title="The true text; hidden characters as JSON writes them">
        Copy JSON
      </CopyButton>
      <CopyButton text={() => addressOf({ line: record.id, live: false })}>Copy link</CopyButton>
    </div>
  );
}

function CopyButton(props: { text: () => string; title?: string; children: ComponentChildren }): VNode {
  const [done, setDone] = useState<"" | "Copied" | "Not allowed here">("");
  useEffect(() => {
    if (done === "") return undefined;
    const timer = setTimeout(() => setDone(""), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <button type="button" title={props.title} onClick={() => void copy(props.text()).then((copied) => setDone(copied ? "Copied" : "Not allowed here"))}>
      <span aria-live="polite">{done === "" ? props.children : done}</span>
    </button>
  );
}

function Message(props: { text: string; pattern: RegExp | null }): VNode {
  const [whole, setWhole] = useState(false);
  const cut = whole ? 0 : Math.max(0, props.text.length - MESSAGE_CHARACTERS);
  return (
    <div class={styles["message"]}>
      <LogText text={cut > 0 ? props.text.slice(0, MESSAGE_CHARACTERS) : props.text} pattern={props.pattern} />
      {cut > 0 && (
        <button type="button" onClick={() => setWhole(true)}>
          Show {bytes(cut)} more
        </button>
      )}
    </div>
  );
}

function FieldRow({ field }: { field: Field }): VNode {
  return (
    <div class={styles["field"]}>
      <dt title={escaped(field.name)}>
        <Plain text={field.name.replace(/^attributes\./, "")} />
      </dt>
      <dd class={field.block ? styles["block"] : undefined}>
        {field.narrows ? <FieldActions field={field} /> : <Plain text={field.value} />}
      </dd>
    </div>
  );
}

/** The tenant is no field of a query: it is chosen beside it. */
function TenantRow({ name }: { name: string }): VNode {
  return (
    <div class={styles["field"]}>
      <dt>tenant</dt>
      <dd>
        <button type="button" class={styles["value"]} title={`Only the tenant ${escaped(name)}`} onClick={() => show({ tenants: [name], line: null })}>
          <Plain text={name} />
        </button>
      </dd>
    </div>
  );
}

function FieldActions({ field }: { field: Field }): VNode {
  const added = term(field.name, field.value);
  const narrow = (more: string) => show({ q: withTerm(view.value.q, more), line: null });
  return (
    <>
      <button type="button" class={styles["value"]} title={`Only lines with ${escaped(added)}`} onClick={() => narrow(added)}>
        <Plain text={field.value} />
      </button>
      <button type="button" class={styles["without"]} title={`Without lines with ${escaped(added)}`} aria-label={`Without ${escaped(added)}`} onClick={() => narrow(`-${added}`)}>
        −
      </button>
    </>
  );
}

function zoneName(timestamp: string): string {
  const minutes = -new Date(timestamp.replace(/(\.\d{3})\d+/, "$1")).getTimezoneOffset();
  const hours = Math.floor(Math.abs(minutes) / 60);
  const rest = Math.abs(minutes) % 60;
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest === 0 ? "" : `:${String(rest).padStart(2, "0")}`}`;
}
