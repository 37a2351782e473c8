// What stands between lines where lines are missing: how many, from when to when, and the way to see them.
import type { VNode } from "preact";
import { show } from "../query/location";
import { count } from "../text/quantity";
import { type Zone, clock } from "../text/time";
import styles from "./note.module.css";
import type { Row } from "./rows";

export function Note({ row, zone }: { row: Exclude<Row, { kind: "record" }>; zone: Zone }): VNode {
  const from = row.from ?? null;
  const to = row.kind === "skipped" ? (row.to ?? null) : null;
  const search = from === null ? null : () => show({ live: false, range: { kind: "between", start: from, end: to } });
  return (
    <div class={styles["note"]} data-note={row.kind}>
      <span>
        {row.kind === "skipped" ? <strong>{count(row.count)} lines skipped</strong> : <strong>The tail began anew</strong>}
        {row.kind === "skipped"
          ? `${from !== null && to !== null ? `, ${clock(from, zone)} – ${clock(to, zone)}` : ""}: they came faster than this page could take them. They are stored.`
          : `${from === null ? "" : ` after ${clock(from, zone)}`}: the server could not resume where it broke off, so lines may be missing here.`}
      </span>
      {search && (
        <button type="button" onClick={search}>
          Search them
        </button>
      )}
    </div>
  );
}
