// Just enough of the query language for the fake server: words, phrases, field:value, level ranges,
// NOT and -, AND; and an error with a position for what is left open.
// @ts-check

const LEVELS = ["trace", "debug", "info", "warning", "error", "critical"];

export class QueryError extends Error {
  /** @param {string} message @param {string} hint @param {number} position */
  constructor(message, hint, position) {
    super(message);
    this.hint = hint;
    this.position = position;
  }
}

/** @param {string} query @returns {(record: Record<string, any>) => boolean} */
export function compile(query) {
  check(query);
  /** @type {((record: Record<string, any>) => boolean)[]} */
  const tests = [];
  let negate = false;
  for (const match of query.matchAll(/(-)?(?:([\w.@]+):)?("(?:[^"\\]|\\.)*"|\S+)/g)) {
    const [, minus, field, raw = ""] = match;
    if (field === undefined && (raw === "AND" || raw === "(" || raw === ")")) continue;
    if (field === undefined && raw === "NOT") {
      negate = true;
      continue;
    }
    const test = field === undefined ? word(raw) : fielded(field, raw);
    tests.push(minus || negate ? (record) => !test(record) : test);
    negate = false;
  }
  return (record) => tests.every((test) => test(record));
}

/** @param {string} query */
function check(query) {
  let quote = -1;
  /** @type {number[]} */
  const open = [];
  for (const [at, character] of [...query].entries()) {
    if (character === '"' && query[at - 1] !== "\\") quote = quote === -1 ? at : -1;
    if (quote !== -1) continue;
    if (character === "(") open.push(at);
    if (character === ")" && open.pop() === undefined) throw new QueryError("this bracket closes nothing", "remove it, or write \\) for the character itself", at);
  }
  if (quote !== -1) throw new QueryError("this quote is never closed", 'add a " at the end of the phrase', quote);
  const last = open.at(-1);
  if (last !== undefined) throw new QueryError("this bracket is never closed", "add a ) where the group ends", last);
}

/** @param {string} raw */
function unquoted(raw) {
  return raw.startsWith('"') ? raw.replaceAll(/^"|"$/g, "").replaceAll(/\\(.)/g, "$1") : raw;
}

/** @param {string} raw @returns {(record: Record<string, any>) => boolean} */
function word(raw) {
  const needle = unquoted(raw).toLowerCase().replaceAll("*", "");
  return (record) => record["message"].toLowerCase().includes(needle);
}

/** @param {string} field @param {string} raw @returns {(record: Record<string, any>) => boolean} */
function fielded(field, raw) {
  const value = unquoted(raw);
  const range = /^(>=|<=|>|<)(.+)$/.exec(value);
  if (range && field === "level") {
    const [, operator, level = ""] = range;
    const border = LEVELS.indexOf(level);
    return (record) => {
      const at = LEVELS.indexOf(record["level"]);
      return operator === ">=" ? at >= border : operator === ">" ? at > border : operator === "<=" ? at <= border : at < border;
    };
  }
  const path = field.replace(/^attributes\./, "").split(".");
  return (record) => {
    const found = record[field] ?? path.reduce((inner, key) => inner?.[key], record["attributes"]);
    return value.endsWith("*") ? String(found ?? "").startsWith(value.slice(0, -1)) : String(found) === value;
  };
}
