// A list of lines with what a reader does in it: open, select with the keyboard, copy.
// Search, tail and context all use it; they differ in where rows come from.
import type { ReadonlySignal } from "@preact/signals";
import type { ComponentChildren, RefObject, VNode } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { LogRecord } from "../api/types";
import { useKeys } from "../keys/keys";
import { show } from "../query/location";
import { matchPattern } from "../query/terms";
import { parseAnsi } from "../text/ansi";
import { escaped } from "../text/escapes";
import { wrap, zone } from "../theme/preferences";
import { Line, type LineLook } from "./line";
import { Note } from "./note";
import type { RowWindow } from "./row-window";
import type { Row } from "./rows";
import { Scroller, type ScrollerHandle } from "./scroller";
import styles from "./scroller.module.css";

interface LinesProps {
  rows: RowWindow<Row>;
  version: ReadonlySignal<number>;
  label: string;
  q: string;
  days: boolean;
  tenants: boolean;
  sources?: boolean;
  follow?: boolean;
  onFollow?(follow: boolean): void;
  onEdge(edge: "start" | "end"): void;
  begin?: number | undefined;
  /** The id of the line that the list is about. */
  marked?: string | undefined;
  before?: ComponentChildren;
  after?: ComponentChildren;
  handle?: RefObject<ScrollerHandle>;
  /** The list stands in a dialog, and takes its keys there. */
  dialog?: boolean;
}

export function Lines(props: LinesProps): VNode {
  const { rows } = props;
  const own = useRef<ScrollerHandle>(null);
  const handle = props.handle ?? own;
  const look = useLook(props);
  const { opened, toggle } = useOpened(rows);
  const [selected, setSelected] = useState<number | null>(null);
  useEffect(() => setSelected(null), [rows]);
  useListKeys(props, handle, selected, setSelected, toggle);

  const copied = (event: ClipboardEvent) => {
    const text = selectedLines(rows);
    if (text === null || !event.clipboardData) return;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  const draw = (row: Row, index: number): VNode => {
    if (row.kind !== "record") return <Note row={row} zone={look.zone} />;
    const { id } = row.record;
    return <Line record={row.record} look={look} open={opened.has(id)} selected={index === selected} marked={id === props.marked} onToggle={toggle} />;
  };
  return (
    <div onCopy={copied} class={styles["lines"]}>
      <Scroller
        rows={rows}
        version={props.version.value}
        layout={`${look.wrap} ${look.tenants}`}
        render={draw}
        follow={props.follow ?? false}
        {...(props.onFollow && { onFollow: props.onFollow })}
        onEdge={props.onEdge}
        {...(props.begin !== undefined && { begin: props.begin })}
        label={props.label}
        before={props.before}
        after={props.after}
        handle={handle}
      />
    </div>
  );
}

function useLook(props: LinesProps): LineLook {
  const pattern = useMemo(() => matchPattern(props.q), [props.q]);
  const [zoneNow, wrapNow] = [zone.value, wrap.value];
  const sources = props.sources ?? true;
  return useMemo(
    () => ({ zone: zoneNow, wrap: wrapNow, days: props.days, tenants: props.tenants, sources, pattern }),
    [zoneNow, wrapNow, props.days, props.tenants, sources, pattern],
  );
}

function useOpened(rows: RowWindow<Row>): { opened: ReadonlySet<string>; toggle: (record: LogRecord) => void } {
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => setOpened(new Set()), [rows]);
  const toggle = useCallback((record: LogRecord) => {
    setOpened((before) => {
      const after = new Set(before);
      if (!after.delete(record.id)) after.add(record.id);
      return after;
    });
  }, []);
  return { opened, toggle };
}

function useListKeys(
  props: LinesProps,
  handle: RefObject<ScrollerHandle>,
  selected: number | null,
  select: (index: number | null) => void,
  toggle: (record: LogRecord) => void,
): void {
  const { rows } = props;
  const move = (step: number) => {
    if (rows.length === 0) return;
    const from = selected ?? (step > 0 ? rows.start - 1 : rows.end);
    const to = Math.min(Math.max(from + step, rows.start), rows.end - 1);
    select(to);
    handle.current?.show(to);
  };
  const current = (): LogRecord | null => {
    const row = selected === null ? undefined : rows.at(selected);
    return row?.kind === "record" ? row.record : null;
  };
  const open = (event: KeyboardEvent) => {
    const record = current();
    // The key belongs to the button that has the focus, if one has.
    if (event.target instanceof HTMLButtonElement) event.target.click();
    else if (record) toggle(record);
  };
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: open,
    c: () => {
      const record = current();
      if (record) show({ line: record.id });
    },
    Home: () => handle.current?.toStart(),
    End: () => {
      handle.current?.toEnd();
      props.onFollow?.(true);
    },
    PageDown: () => handle.current?.page(1),
    PageUp: () => handle.current?.page(-1),
  };
  const leave = () => {
    getSelection()?.removeAllRanges();
    select(null);
  };
  // In a dialog, Esc closes the dialog.
  useKeys(props.dialog ? keys : { ...keys, Escape: leave }, props.dialog ?? false);
}

/** What a selection over several lines copies: time, level and message, as in a file. Null: leave it to the browser. */
function selectedLines(rows: RowWindow<Row>): string | null {
  const selection = getSelection();
  if (!selection || selection.rangeCount === 0) return null;
  const range = selection.getRangeAt(0);
  const first = rowIndex(range.startContainer);
  const last = rowIndex(range.endContainer);
  if (first === null || last === null || first === last) return null;
  const lines: string[] = [];
  for (let index = first; index <= last; index += 1) {
    const row = rows.at(index);
    if (row?.kind === "record") lines.push(asText(row.record));
  }
  return lines.join("\n");
}

function asText(record: LogRecord): string {
  return `${record["@timestamp"]} ${(record.level ?? "-").toUpperCase()} ${escaped(parseAnsi(record.message).plain)}`;
}

function rowIndex(node: Node): number | null {
  const element = node instanceof Element ? node : node.parentElement;
  const index = element?.closest<HTMLElement>("[data-index]")?.dataset["index"];
  return index === undefined ? null : Number(index);
}
