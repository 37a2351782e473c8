// The time range: one of the usual ones, everything, or from one instant to another.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import controls from "../controls/controls.module.css";
import { Choice, Menu } from "../controls/menu";
import { fromInput, millis, toInput } from "../text/time";
import { zone } from "../theme/preferences";
import styles from "./pickers.module.css";
import { type Range, SPANS, SPAN_NAMES, rangeName } from "./range";

interface RangeProps {
  range: Range;
  /** The range does not count at the moment. */
  idle?: boolean;
  choose(range: Range): void;
}

export function RangePicker(props: RangeProps): VNode {
  const label = (
    <span class={styles["label"]} data-idle={props.idle ?? false}>
      {rangeName(props.range, zone.value)}
    </span>
  );
  return (
    <Menu label={label} name="Time range" align="end">
      {(close) => <Ranges {...props} close={close} />}
    </Menu>
  );
}

function Ranges({ range, choose: chosen, close }: RangeProps & { close: () => void }): VNode {
  const choose = (next: Range) => {
    chosen(next);
    close();
  };
  return (
    <>
      {SPANS.map((span) => (
        <Choice key={span} chosen={range.kind === "last" && range.span === span} hint={span} onClick={() => choose({ kind: "last", span })}>
          Last {SPAN_NAMES[span]}
        </Choice>
      ))}
      <Choice chosen={range.kind === "all"} hint="all that is kept" onClick={() => choose({ kind: "all" })}>
        All time
      </Choice>
      <Custom range={range} choose={choose} />
    </>
  );
}

function Custom(props: { range: Range; choose: (range: Range) => void }): VNode {
  const { range } = props;
  const now = Date.now();
  const [from, setFrom] = useState(toInput(range.kind === "between" ? millis(range.start) : now - 3_600_000, zone.value));
  const [to, setTo] = useState(range.kind === "between" && range.end === null ? "" : toInput(range.kind === "between" && range.end !== null ? millis(range.end) : now, zone.value));
  const start = fromInput(from, zone.value);
  const end = to === "" ? null : fromInput(to, zone.value);
  const wrong = start === null ? "Say from when on." : end !== null && end <= start ? "It ends before it begins." : null;
  const submit = (event: Event) => {
    event.preventDefault();
    if (start !== null && wrong === null) props.choose({ kind: "between", start, end });
  };
  return (
    <form class={styles["custom"]} onSubmit={submit}>
      <label>
        <span>From</span>
        <input type="datetime-local" step={1} value={from} onInput={(event) => setFrom(event.currentTarget.value)} required />
      </label>
      <label>
        <span>To</span>
        <input type="datetime-local" step={1} value={to} onInput={(event) => setTo(event.currentTarget.value)} />
      </label>
      <div class={styles["customEnd"]}>
        <span class={wrong === null ? styles["hint"] : styles["wrong"]}>{wrong ?? (zone.value === "utc" ? "in UTC" : "in your local time")}</span>
        <button type="submit" class={`${controls["button"]} ${controls["primary"]}`} disabled={wrong !== null}>
          Show
        </button>
      </div>
    </form>
  );
}
