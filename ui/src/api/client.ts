// The calls of the query API. Knows addresses and bodies; knows nothing of screens.
import type { AuditPage, Context, Histogram, Provider, SearchPage, Session, SignedOut } from "./types";
import { ApiError, UNREACHABLE, errorOf } from "./error";

const PREFIX = "/api/v1";
const JSON_BODY = { "content-type": "application/json" };
const TAIL_PROTOCOL = "heliograph.v1";

/** What every reading call asks about. Empty `tenants`: all that the caller may read. */
export interface Question {
  q: string;
  tenants: readonly string[];
  start?: string;
  end?: string;
}

let signedOut: () => void = () => {};

/** Called whenever a call is answered 401, so that the page returns to sign-in from anywhere. */
export function onSignedOut(callback: () => void): void {
  signedOut = callback;
}

export function parameters(question: Question): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const tenant of question.tenants) parameters.append("tenant", tenant);
  if (question.q.trim() !== "") parameters.set("q", question.q);
  if (question.start !== undefined) parameters.set("start", question.start);
  if (question.end !== undefined) parameters.set("end", question.end);
  return parameters;
}

export function getSession(signal?: AbortSignal): Promise<Session> {
  return call<Session>("/session", signal ? { signal } : {});
}

export function signIn(user: string, password: string): Promise<Session> {
  return call<Session>("/session", {
    method: "POST",
    headers: JSON_BODY,
    body: JSON.stringify({ user, password }),
  });
}

/** Nothing where there is no other place to sign out at. */
export function signOut(): Promise<SignedOut | undefined> {
  return call("/session", { method: "DELETE" });
}

export async function getProviders(signal: AbortSignal): Promise<Provider[]> {
  const { providers } = await call<{ providers: Provider[] }>("/auth/providers", { signal });
  return providers;
}

/** Where the browser goes to sign in by a provider; it comes back to a place of this page. */
export function loginUrl(provider: string, returnTo: string): string {
  return `${PREFIX}/auth/${encodeURIComponent(provider)}/login?${new URLSearchParams({ return_to: returnTo })}`;
}

/** Makes the account that an invitation is for. */
export function acceptInvitation(token: string, password: string): Promise<{ user: string }> {
  return call("/invitations/accept", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token, password }),
  });
}

export interface SearchOptions {
  limit: number;
  order: "desc" | "asc";
  cursor?: string | null;
  signal?: AbortSignal;
}

export function search(question: Question, options: SearchOptions): Promise<SearchPage> {
  const query = parameters(question);
  query.set("limit", String(options.limit));
  query.set("order", options.order);
  if (options.cursor) query.set("cursor", options.cursor);
  return call<SearchPage>(`/search?${query}`, options.signal ? { signal: options.signal } : {});
}

export function histogram(question: Question, signal: AbortSignal): Promise<Histogram> {
  const query = parameters(question);
  query.set("by", "level");
  return call<Histogram>(`/histogram?${query}`, { signal });
}

export function context(id: string, before: number, after: number, signal: AbortSignal): Promise<Context> {
  const query = new URLSearchParams({ id, before: String(before), after: String(after) });
  return call<Context>(`/context?${query}`, { signal });
}

export function exportUrl(question: Question, format: "ndjson" | "text" | "csv"): string {
  const query = parameters(question);
  query.set("format", format);
  return `${PREFIX}/export?${query}`;
}

/** What is asked of the audit log; what is empty is not asked about. */
export interface AuditQuestion {
  tenant: string;
  action: string;
  actor: string;
  start?: string;
  end?: string;
}

export function audit(question: AuditQuestion, limit: number, cursor: string | null, signal: AbortSignal): Promise<AuditPage> {
  const query = auditParameters(question);
  query.set("limit", String(limit));
  if (cursor !== null) query.set("cursor", cursor);
  return call<AuditPage>(`/admin/audit?${query}`, { signal });
}

export function auditExportUrl(question: AuditQuestion): string {
  return `${PREFIX}/admin/audit/export?${auditParameters(question)}`;
}

function auditParameters(question: AuditQuestion): URLSearchParams {
  const asked = Object.entries(question).filter(([, value]) => value !== "" && value !== undefined);
  return new URLSearchParams(asked);
}

/** What lets one tail be opened, within half a minute and once: a page of somebody else cannot ask for it. */
export async function tailTicket(): Promise<string> {
  const { ticket } = await call<{ ticket: string }>("/tail/ticket", { method: "POST", headers: JSON_BODY, body: "{}" });
  return ticket;
}

/** In the one header that a page can fill, not in the address, which lies in logs. */
export function openTail(question: Question, from: { since?: string; resume?: string }, ticket: string): WebSocket {
  return new WebSocket(tailUrl(question, from), [TAIL_PROTOCOL, `ticket.${ticket}`]);
}

function tailUrl(question: Question, from: { since?: string; resume?: string }): string {
  const query = parameters({ q: question.q, tenants: question.tenants });
  if (from.resume !== undefined) query.set("resume", from.resume);
  else if (from.since !== undefined) query.set("since", from.since);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${PREFIX}/tail?${query}`;
}

async function call<T>(path: string, init: RequestInit): Promise<T> {
  const response = await fetch(PREFIX + path, { ...init, credentials: "same-origin", cache: "no-store" });
  if (response.status === 204) return undefined as T;
  const body = await bodyOf(response);
  if (response.ok) return body as T;
  // A wrong password is an answer to the form, not the end of a session.
  if (response.status === 401 && !(path === "/session" && init.method === "POST")) signedOut();
  throw errorOf(response.status, body, response.headers.get("retry-after"));
}

async function bodyOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (thrown) {
    if (thrown instanceof DOMException) throw thrown;
    if (!response.ok) return null;
    throw new ApiError(0, { code: UNREACHABLE, message: "the answer was cut short or is not JSON" });
  }
}
