// Where a line comes from, in two words: the first tells the family, the second the member.
import type { LogRecord } from "../api/types";

export interface Source {
  family: string;
  member: string;
  /** Which of the two must stay readable where room is short. */
  keep: "family" | "member";
}

/** A task's line: DAG and task, with map index and try where they say something. Else component and pod. */
export function sourceOf(record: LogRecord): Source {
  if (record.dag_id !== undefined && record.task_id !== undefined) {
    return { family: record.dag_id, member: record.task_id + instance(record), keep: "member" };
  }
  const family = record.component ?? record.container ?? record.namespace ?? "";
  return { family, member: podWithout(record.pod ?? record.node ?? "", family), keep: "family" };
}

/** Of `airflow-scheduler-7d9f8c6b5-x2kqz` beside `scheduler` only the end tells something. */
function podWithout(pod: string, family: string): string {
  const at = family === "" ? -1 : pod.indexOf(`${family}-`);
  return at === -1 ? pod : pod.slice(at + family.length + 1);
}

function instance(record: LogRecord): string {
  const mapped = record.map_index !== undefined && record.map_index >= 0 ? `[${record.map_index}]` : "";
  const retried = record.try_number !== undefined && record.try_number > 1 ? ` #${record.try_number}` : "";
  return mapped + retried;
}

/** The task try or the pod that a line belongs to, in full: a heading over its neighbours. */
export function sourceInFull(record: LogRecord): string {
  if (record.dag_id !== undefined && record.task_id !== undefined) {
    const parts = [record.dag_id, record.task_id + instance(record), record.run_id ?? ""];
    return parts.filter((part) => part !== "").join(" › ");
  }
  const parts = [record.component ?? "", record.pod ?? "", record.container ?? "", record.stream ?? ""];
  return [...new Set(parts.filter((part) => part !== ""))].join(" › ");
}
