// Made-up rows of the audit log, the same at each call: for looking at the page and for its checks.
// @ts-check
import { chance, pick } from "./lines.mjs";

const STEP_MS = 60_000;
const ROWS = 7000;
const ACTORS = ["user:ann", "user:ann", "user:bob", "token:0123456789ab", "user:root", "service"];
const READS = ["search", "search", "search", "histogram", "tail", "export", "context", "fields"];
const QUERIES = ["dag_id:etl_daily level:>=warning", "\"connection refused\"", "", "task_id:load* timeout", "/retry \\d+/"];

/** @param {number} number from 0, the newest first @param {number} newest @returns {Record<string, any>} */
function eventAt(number, newest) {
  const tenant = pick(number, 31, ["acme", "globex", "initech", "umbrella"]);
  const time = new Date(newest - number * STEP_MS).toISOString().replace("Z", "123456Z");
  const event = { time, actor: pick(number, 32, ACTORS), action: pick(number, 33, READS), tenant, tenant_uid: null, from: `10.0.${number % 7}.${number % 200}`, outcome: "done", details: {} };
  if (number % 11 === 3) {
    return { ...event, actor: "nobody", action: "session.refused", tenant: null, outcome: "refused", details: { user: "ann", status: 401 } };
  }
  if (number % 17 === 5) return { ...event, action: "grant.give", actor: "user:root", details: { user: "eve", role: "operator" } };
  if (number % 19 === 7) return { ...event, action: "export", outcome: "failed", details: { q: pick(number, 34, QUERIES), format: "csv", status: 504 } };
  if (number % 23 === 2) {
    // As someone would write it who wants to mislead who reads the log.
    return { ...event, actor: "user:ann\u202enimda", details: { q: "\u001b]0;owned\u0007 =cmd <img src=x onerror=alert(1)>", start: "now-1h" } };
  }
  if (number % 29 === 4) return { ...event, action: "token.create", actor: "user:root", details: { roles: ["viewer", "writer"], ttl: "30d", token: "0123456789ab" } };
  return { ...event, details: { q: pick(number, 34, QUERIES), start: "now-1h", limit: "100" } };
}

/** @param {URLSearchParams} query @param {any} session @param {(text: string | null, otherwise: number) => number} instant */
export function audit(query, session, instant) {
  const operated = session.tenants.filter((/** @type {any} */ tenant) => tenant.roles.includes("operator")).map((/** @type {any} */ tenant) => tenant.name);
  const wanted = query.get("tenant");
  if (operated.length === 0 && !session.admin) throw Object.assign(new Error("you may not do this, or it does not exist"), { status: 403, code: "forbidden" });
  if (wanted !== null && !operated.includes(wanted)) throw Object.assign(new Error("there is no such tenant"), { status: 404, code: "not_found" });
  const newest = Math.floor(Date.now() / STEP_MS) * STEP_MS;
  const [start, end] = [instant(query.get("start"), 0), instant(query.get("end"), Date.now())];
  const limit = Number(query.get("limit") ?? ROWS);
  const events = [];
  let number = Number(query.get("cursor") ?? 0);
  for (; number < ROWS && events.length < limit; number += 1) {
    const event = eventAt(number, newest);
    const at = Date.parse(event["time"]);
    if (at < start || at > end) continue;
    if (event["tenant"] === null ? !session.admin || wanted !== null : !operated.includes(event["tenant"])) continue;
    if (wanted !== null && event["tenant"] !== wanted) continue;
    if (query.has("action") && event["action"] !== query.get("action")) continue;
    if (query.has("actor") && event["actor"] !== query.get("actor")) continue;
    events.push(session.admin ? { seq: ROWS - number, ...event, hash: chance(number, 40).toString(16).slice(2).padEnd(64, "0") } : event);
  }
  return { events, next_cursor: number < ROWS ? String(number) : null };
}
