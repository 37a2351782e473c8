// A stand-in for the query node: serves dist under the very policy the real one sends, and answers
// the HTTP contract with made-up lines. For looking at the page and for its checks, never for users.
//
// `node tests/fake/server.mjs [port]`; users: admin/admin reads all, otto/otto operates a tenant, vera/vera reads one,
// nobody/nobody reads nothing.
// POST /fake {"drop":true} breaks all tails, {"skip":n} skips lines, {"burst":n} sends many,
// "Some provider" signs in as admin, and `hgi_…` of any twelve hexadecimal digits is an invitation, but for zeros.
// {"fail":status} fails the next search, {"signOut":true} ends all sessions, {"down":ms} is away so long.
// @ts-check
import { readFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { audit } from "./audit.mjs";
import { STEP_MS, levelAt, recordAt, sourceKey, tenantAt, timeAt } from "./lines.mjs";
import { QueryError, compile } from "./query.mjs";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const HEADERS = { "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin", "x-frame-options": "DENY" };
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const TENANTS = ["acme", "globex", "initech", "umbrella"].map((name) => ({ name, workspace: name === "umbrella" ? "research" : "default", roles: ["viewer", "writer", "operator"] }));
/** Users, whose password is their name, and what they may do. */
const USERS = {
  admin: { admin: true, tenants: TENANTS },
  /** Operates one tenant, and reads another. */
  otto: { admin: false, tenants: [{ name: "acme", workspace: "default", roles: ["viewer", "operator"] }, { name: "globex", workspace: "default", roles: ["viewer"] }] },
  vera: { admin: false, tenants: [{ name: "acme", workspace: "default", roles: ["viewer"] }] },
  nobody: { admin: false, tenants: [] },
};
/** Kept so far back. */
const KEPT_MS = 8 * 86_400_000;
/** Lines looked at for one page, before it is given back as it is. */
const BUDGET = 150_000;

const sessions = new Map();
/** Tickets for tails that were not used, and whose they are. */
const tickets = new Map();
let nextSession = 1;
/** @type {{ fail: number, downUntil: number }} */
const faults = { fail: 0, downUntil: 0 };
const tails = new Set();

/** @param {import("node:http").ServerResponse} response @param {number} status @param {unknown} body @param {Record<string, string>} headers */
function answer(response, status, body, headers = {}) {
  response.writeHead(status, { ...HEADERS, "content-type": "application/json", "cache-control": "no-store", ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

/** @param {import("node:http").IncomingMessage} request */
function sessionOf(request) {
  const id = /session=(\d+)/.exec(request.headers.cookie ?? "")?.[1];
  return id === undefined ? undefined : sessions.get(id);
}

/** @param {string | null} text @param {number} otherwise */
function instant(text, otherwise) {
  if (text === null || text === "") return otherwise;
  if (text === "now") return Date.now();
  const relative = /^now-(\d+)([smhd])$/.exec(text);
  if (relative) return Date.now() - Number(relative[1]) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[/** @type {"s"} */ (relative[2])];
  return Date.parse(text.replace(/(\.\d{3})\d+/, "$1"));
}

/** @param {URLSearchParams} query @param {any} session */
function question(query, session) {
  const tenants = query.getAll("tenant");
  const readable = session.tenants.map((/** @type {any} */ tenant) => tenant.name);
  for (const tenant of tenants) if (!readable.includes(tenant)) throw Object.assign(new Error("you may not read this tenant"), { status: 403, code: "forbidden" });
  const wanted = new Set(tenants.length > 0 ? tenants : readable);
  const end = Math.min(instant(query.get("end"), Date.now()), Date.now());
  const start = Math.max(instant(query.get("start"), 0), Date.now() - KEPT_MS);
  return { wanted, start, end, matches: compile(query.get("q") ?? ""), all: (query.get("q") ?? "") === "" };
}

/** @param {URLSearchParams} query @param {any} session */
function search(query, session) {
  const begun = performance.now();
  const { wanted, start, end, matches } = question(query, session);
  const limit = Math.min(Number(query.get("limit") ?? 100), 10_000);
  const step = query.get("order") === "asc" ? 1 : -1;
  const [first, last] = [Math.floor(start / STEP_MS), Math.floor(end / STEP_MS)];
  let number = query.has("cursor") ? Number(query.get("cursor")) : step > 0 ? first : last;
  /** @type {any[]} */
  const records = [];
  let looked = 0;
  for (; number >= first && number <= last && records.length < limit && looked < BUDGET; number += step, looked += 1) {
    if (!wanted.has(tenantAt(number)) || timeAt(number) > end || timeAt(number) < start) continue;
    const record = recordAt(number);
    if (matches(record)) records.push(record);
  }
  const more = number >= first && number <= last;
  return { records, next_cursor: more ? String(number) : null, complete: true, stats: { segments: 1 + Math.floor(looked / 50_000), blocks: 1 + Math.floor(looked / 600), bytes: looked * 420, elapsed_ms: Math.round((performance.now() - begun) * 10) / 10 } };
}

/** @param {URLSearchParams} query @param {any} session */
function histogram(query, session) {
  const { wanted, start, end, matches, all } = question(query, session);
  const wish = (end - start) / 60;
  const interval = [1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5].find((ms) => ms >= wish) ?? 864e5;
  const buckets = [];
  for (let at = Math.floor(start / interval) * interval; at < end; at += interval) {
    /** @type {Record<string, number>} */
    const by = {};
    let total = 0;
    const [from, to] = [Math.ceil(Math.max(at, start) / STEP_MS), Math.min(at + interval, end) / STEP_MS];
    // A sample of the lines does for bars.
    const stride = Math.max(1, Math.floor((end - start) / STEP_MS / 60_000));
    for (let number = from; number < to; number += stride) {
      if (!wanted.has(tenantAt(number)) || (!all && !matches(recordAt(number)))) continue;
      by[levelAt(number)] = (by[levelAt(number)] ?? 0) + stride;
      total += stride;
    }
    buckets.push({ start: new Date(at).toISOString(), total, by });
  }
  return { interval_ms: interval, buckets, complete: true };
}

/** @param {URLSearchParams} query */
function context(query) {
  const center = Number((query.get("id") ?? "").slice(1));
  if (!Number.isFinite(center) || !query.get("id")?.startsWith("n")) throw Object.assign(new Error("no such record"), { status: 404, code: "not_found" });
  const key = sourceKey(recordAt(center));
  /** @param {number} wanted @param {1 | -1} step */
  const walk = (wanted, step) => {
    const found = [];
    for (let number = center + step; found.length < wanted && Math.abs(number - center) < 30_000; number += step) {
      if (number * STEP_MS > Date.now()) break;
      const record = recordAt(number);
      if (sourceKey(record) === key) found.push(record);
    }
    return found;
  };
  return { records: [...walk(Number(query.get("before") ?? 50), -1).toReversed(), recordAt(center), ...walk(Number(query.get("after") ?? 50), 1)] };
}

/** @param {import("node:http").IncomingMessage} request @returns {Promise<any>} */
async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text === "" ? {} : JSON.parse(text);
}

/** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
async function session(request, response) {
  if (request.method === "POST") {
    const { user, password } = await bodyOf(request);
    if (user === "slow") return answer(response, 429, { error: { code: "throttled", message: "too many attempts" } }, { "retry-after": "30" });
    if ((password !== user && password !== "invited-person") || !(user in USERS)) return answer(response, 401, { error: { code: "unauthenticated", message: "wrong user or password" } });
    const id = String(nextSession++);
    sessions.set(id, { user, ...USERS[/** @type {keyof typeof USERS} */ (user)] });
    return answer(response, 200, sessions.get(id), { "set-cookie": `session=${id}; HttpOnly; SameSite=Lax; Path=/` });
  }
  if (request.method === "DELETE") {
    sessions.delete(/session=(\d+)/.exec(request.headers.cookie ?? "")?.[1]);
    return answer(response, 204, undefined);
  }
  const known = sessionOf(request);
  return known ? answer(response, 200, known) : answer(response, 401, { error: { code: "unauthenticated", message: "sign in first" } });
}

/** What needs no session; whether it was that. @param {URL} url @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
async function open(url, request, response) {
  switch (url.pathname.slice("/api/v1".length)) {
    case "/auth/providers":
      answer(response, 200, { providers: [{ name: "some", display_name: "Some provider" }] });
      return true;
    case "/auth/some/login": {
      const id = String(nextSession++);
      sessions.set(id, { user: "admin", admin: true, tenants: TENANTS });
      const place = url.searchParams.get("return_to") ?? "/";
      answer(response, 303, undefined, { location: place, "set-cookie": `session=${id}; HttpOnly; SameSite=Lax; Path=/` });
      return true;
    }
    case "/invitations/accept": {
      const { token } = await bodyOf(request);
      const gone = String(token).startsWith("hgi_000000000000");
      if (gone) answer(response, 404, { error: { code: "not_found", message: "there is no such invitation" } });
      else answer(response, 201, { user: "nobody" });
      return true;
    }
    default:
      return false;
  }
}

/** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
async function fake(request, response) {
  const wish = await bodyOf(request);
  if (wish.drop) for (const tail of tails) tail.socket.terminate();
  if (wish.signOut) sessions.clear();
  if (wish.fail) faults.fail = wish.fail;
  if (wish.down) {
    faults.downUntil = Date.now() + wish.down;
    for (const tail of tails) tail.socket.terminate();
  }
  if (wish.skip) for (const tail of tails) tail.skip(wish.skip);
  if (wish.burst) for (const tail of tails) tail.burst(wish.burst);
  answer(response, 204, undefined);
}

/** @param {URL} url @param {import("node:http").ServerResponse} response */
async function asset(url, response) {
  const name = ["/", "/audit"].includes(url.pathname) ? "index.html" : url.pathname.slice(1);
  if (name.includes("..")) return answer(response, 404, undefined);
  try {
    const bytes = await readFile(DIST + name);
    const type = TYPES[/** @type {keyof typeof TYPES} */ (name.split(".").at(-1) ?? "html")] ?? "application/octet-stream";
    response.writeHead(200, { ...HEADERS, "content-type": type, "cache-control": name === "index.html" ? "no-cache" : "public, max-age=31536000, immutable" });
    response.end(bytes);
  } catch {
    answer(response, 404, { error: { code: "not_found", message: "no such page" } });
  }
}

/** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
async function route(request, response) {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname === "/fake") return fake(request, response);
  if (Date.now() < faults.downUntil) return void request.socket.destroy();
  if (!url.pathname.startsWith("/api/v1/")) return asset(url, response);
  const path = url.pathname.slice("/api/v1".length);
  if (path === "/session") return session(request, response);
  if (await open(url, request, response)) return;
  const known = sessionOf(request);
  if (!known) return answer(response, 401, { error: { code: "unauthenticated", message: "sign in first" } });
  if (path === "/tail/ticket") {
    const ticket = randomUUID();
    tickets.set(ticket, known);
    return answer(response, 200, { ticket, expires_in_seconds: 30 });
  }
  if (path === "/search" && faults.fail) {
    const status = faults.fail;
    faults.fail = 0;
    return answer(response, status, { error: { code: "unavailable", message: "the store does not answer" } }, status === 429 ? { "retry-after": "4" } : {});
  }
  if (path === "/admin/audit/export") {
    const { events } = audit(url.searchParams, known, instant);
    response.writeHead(200, { ...HEADERS, "content-type": "application/x-ndjson", "cache-control": "no-store", "content-disposition": 'attachment; filename="audit.ndjson"' });
    return void response.end(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  }
  if (path === "/admin/audit" && faults.fail) {
    const status = faults.fail;
    faults.fail = 0;
    return answer(response, status, { error: { code: "unavailable", message: "the store does not answer" } });
  }
  const routes = { "/admin/audit": () => audit(url.searchParams, known, instant), "/search": () => search(url.searchParams, known), "/histogram": () => histogram(url.searchParams, known), "/context": () => context(url.searchParams), "/fields": () => ({ fields: ["level", "dag_id", "task_id", "run_id"] }) };
  const made = routes[/** @type {keyof typeof routes} */ (path)];
  if (!made) return answer(response, 404, { error: { code: "not_found", message: "no such route" } });
  return answer(response, 200, made());
}

/** @param {import("node:http").ServerResponse} response @param {any} error */
function failed(response, error) {
  if (error instanceof QueryError) return answer(response, 400, { error: { code: "invalid_query", message: error.message, hint: error.hint, position: error.position } });
  return answer(response, error.status ?? 500, { error: { code: error.code ?? "internal", message: error.message } });
}

/** @param {import("ws").WebSocket} socket @param {URLSearchParams} query @param {any} known */
function tail(socket, query, known) {
  /** @param {unknown} frame */
  const send = (frame) => socket.send(JSON.stringify(frame));
  let asked;
  try {
    asked = question(query, known);
  } catch (/** @type {any} */ error) {
    send({ type: "error", error: error instanceof QueryError ? { code: "invalid_query", message: error.message, hint: error.hint, position: error.position } : { code: error.code ?? "internal", message: error.message } });
    return socket.close();
  }
  const { wanted, matches } = asked;
  let number = query.has("resume") ? Number(query.get("resume")) : Math.ceil(instant(query.get("since"), Date.now()) / STEP_MS) - 1;
  let paused = false;
  const pump = () => {
    if (paused) return;
    const records = [];
    for (; timeAt(number) <= Date.now(); number += 1) {
      if (!wanted.has(tenantAt(number))) continue;
      const record = recordAt(number);
      if (matches(record)) records.push(record);
    }
    if (records.length > 0) send({ type: "records", records, cursor: String(number) });
  };
  const timers = [setInterval(pump, 120), setInterval(() => send({ type: "heartbeat", cursor: String(number) }), 5000)];
  const here = {
    socket,
    /** @param {number} count */
    skip: (count) => send({ type: "skipped", count, from: new Date(Date.now() - 4000).toISOString(), to: new Date().toISOString(), cursor: String(number) }),
    /** @param {number} count */
    burst: (count) => send({ type: "records", records: Array.from({ length: count }, (_, at) => ({ ...recordAt(number - (at % 5000)), id: `b${number}.${at}` })), cursor: String(number) }),
  };
  tails.add(here);
  socket.on("message", (text) => {
    const { type } = JSON.parse(String(text));
    if (type === "pause") paused = true;
    if (type === "resume") paused = false;
  });
  socket.on("close", () => {
    tails.delete(here);
    for (const timer of timers) clearInterval(timer);
  });
  send({ type: "heartbeat", cursor: String(number) });
  pump();
}

/** @param {number} port */
export async function start(port) {
  const server = createServer((request, response) => {
    route(request, response).catch((error) => failed(response, error));
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has("heliograph.v1") ? "heliograph.v1" : false) });
  server.on("upgrade", (request, socket, head) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const known = sessionOf(request);
    if (Date.now() < faults.downUntil) return void socket.destroy();
    if (url.pathname !== "/api/v1/tail" || !known) return void socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
    const ticket = /(?:^|, *)ticket\.([\w-]+)/.exec(String(request.headers["sec-websocket-protocol"]))?.[1] ?? "";
    if (tickets.get(ticket) !== known) return void socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    tickets.delete(ticket);
    sockets.handleUpgrade(request, socket, head, (accepted) => tail(accepted, url.searchParams, known));
  });
  await new Promise((resolve) => void server.listen(port, "127.0.0.1", () => resolve(undefined)));
  const { port: given } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const close = () => {
    for (const one of tails) one.socket.terminate();
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${given}`, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await start(Number(process.argv[2] ?? 7799));
  console.log(`the fake server answers at ${url} (admin/admin)`);
}
