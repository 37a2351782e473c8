// One line of the list, closed or opened.
import { Component, type VNode } from "preact";
import type { LogRecord } from "../api/types";
import { escaped } from "../text/escapes";
import { bytes } from "../text/quantity";
import { LogText, Plain } from "../text/text";
import { type Zone, clock, day, full } from "../text/time";
import { Details } from "./details";
import { knownLevel, levelCode } from "./level";
import styles from "./line.module.css";
import { shownMessage } from "./message";
import { sourceInFull, sourceOf } from "./source";

/** How all lines of a list are drawn; one object for as long as nothing in it changes. */
export interface LineLook {
  zone: Zone;
  wrap: boolean;
  /** Days beside the times of day. */
  days: boolean;
  tenants: boolean;
  sources: boolean;
  pattern: RegExp | null;
}

export interface LineProps {
  record: LogRecord;
  look: LineLook;
  open: boolean;
  selected: boolean;
  /** The line that the list is about. */
  marked: boolean;
  onToggle(record: LogRecord): void;
}

export class Line extends Component<LineProps> {
  override shouldComponentUpdate(next: LineProps): boolean {
    const now = this.props;
    return (
      next.record !== now.record || next.look !== now.look || next.open !== now.open || next.selected !== now.selected || next.marked !== now.marked
    );
  }

  private readonly clicked = (event: MouseEvent): void => {
    // A click that ends a selection of text, or that hit a control, opens nothing.
    if ((event.target as Element).closest("[data-details], a")) return;
    if (getSelection()?.isCollapsed === false) return;
    this.props.onToggle(this.props.record);
  };

  override render({ record, look, open, selected, marked }: LineProps): VNode {
    const level = knownLevel(record.level);
    return (
      <div class={styles["line"]} data-level={level ?? "none"} data-open={open} data-selected={selected} data-marked={marked} data-wrap={look.wrap} onClick={this.clicked}>
        <div class={styles["cells"]}>
          <button type="button" class={styles["opener"]} tabIndex={-1} aria-expanded={open} aria-label={open ? "Hide fields" : "Show fields"} />
          <time class={styles["time"]} dateTime={record["@timestamp"]} title={`${full(record["@timestamp"], look.zone)} ${look.zone === "utc" ? "UTC" : "local time"}`}>
            {look.days && <span class={styles["day"]}>{day(record["@timestamp"], look.zone)} </span>}
            {clock(record["@timestamp"], look.zone)}
          </time>
          <abbr class={styles["level"]} title={level ?? "no level"}>
            {levelCode(level)}
          </abbr>
          {look.tenants && (
            <span class={styles["tenant"]} title={escaped(record.tenant ?? "")}>
              <Plain text={record.tenant ?? ""} />
            </span>
          )}
          {look.sources && <SourceCell record={record} />}
          <MessageCell record={record} look={look} />
        </div>
        {open && <Details record={record} zone={look.zone} pattern={look.pattern} />}
      </div>
    );
  }
}

function SourceCell({ record }: { record: LogRecord }): VNode {
  const { family, member, keep } = sourceOf(record);
  return (
    <span class={styles["source"]} data-keep={keep} title={escaped(sourceInFull(record))}>
      <span class={styles["family"]}>
        <Plain text={family} />
      </span>
      {member !== "" && (
        <span class={styles["member"]}>
          <Plain text={member} />
        </span>
      )}
    </span>
  );
}

function MessageCell({ record, look }: { record: LogRecord; look: LineLook }): VNode {
  const shown = shownMessage(record.message, look.wrap);
  return (
    <span class={styles["message"]} data-message>
      <LogText text={shown.text} pattern={look.pattern} />
      {shown.cut > 0 && <span class={styles["more"]}>{bytes(shown.cut)} more</span>}
      {shown.moreLines > 0 && (
        <>
          <span class={styles["more"]}>+{shown.moreLines} lines</span>
          <span class={styles["last"]}>
            <LogText text={shown.last} pattern={look.pattern} />
          </span>
        </>
      )}
    </span>
  );
}
