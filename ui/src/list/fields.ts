// A record as name and value, in the order a reader asks for them. Pure.
import type { Json, LogRecord } from "../api/types";

export interface Field {
  /** As a query names it. */
  name: string;
  value: string;
  /** Whether a click may narrow the query by it: not where every line has a value of its own. */
  narrows: boolean;
  /** A value that is itself an object or a list, in several lines. */
  block: boolean;
}

const ORDER = [
  "level", "dag_id", "task_id", "run_id", "map_index", "try_number", "component",
  "logger", "namespace", "pod", "container", "node", "stream", "log_id",
] as const satisfies readonly (keyof LogRecord)[];

export function fieldsOf(record: LogRecord): Field[] {
  const fields: Field[] = [];
  for (const name of ORDER) {
    const value = record[name];
    if (value !== undefined && value !== null) fields.push({ name, value: String(value), narrows: true, block: false });
  }
  fields.push({ name: "id", value: record.id, narrows: false, block: false });
  return fields;
}

/** Attributes by their path: `request.method`. Lists, and objects within lists, are printed as they are. */
export function attributesOf(record: LogRecord): Field[] {
  const fields: Field[] = [];
  const walk = (value: Json, path: string, depth: number): void => {
    if (value !== null && typeof value === "object") {
      const inner = Object.entries(value);
      if (!Array.isArray(value) && inner.length > 0 && depth < NESTING_MAX) {
        for (const [key, part] of inner) walk(part, `${path}.${key}`, depth + 1);
        return;
      }
      fields.push({ name: path, value: JSON.stringify(value, null, 2), narrows: false, block: inner.length > 0 });
      return;
    }
    const text = String(value);
    fields.push({ name: path, value: text, narrows: value !== null && NAMEABLE.test(path) && text.length <= VALUE_CHARACTERS, block: text.includes("\n") });
  };
  for (const [key, value] of Object.entries(record.attributes ?? {})) walk(value, `attributes.${key}`, 1);
  return fields;
}

/** Paths that a query can name. */
const NAMEABLE = /^[\w.@-]+$/;
/** A longer value is text to read, not one to search for as a whole. */
const VALUE_CHARACTERS = 1_000;
/** Deeper than this an attribute is printed as it is, rather than by its path. */
const NESTING_MAX = 6;
