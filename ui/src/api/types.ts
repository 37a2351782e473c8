// The words of the HTTP contract (prefix /api/v1), as they stand on the wire.

export const LEVELS = ["trace", "debug", "info", "warning", "error", "critical"] as const;
export type Level = (typeof LEVELS)[number];

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** One log event. Absent fields are left out; `@timestamp` has nanoseconds, so it stays a string. */
export interface LogRecord {
  id: string;
  "@timestamp": string;
  message: string;
  level?: Level;
  tenant?: string;
  component?: string;
  namespace?: string;
  pod?: string;
  container?: string;
  node?: string;
  stream?: string;
  dag_id?: string;
  task_id?: string;
  run_id?: string;
  map_index?: number;
  try_number?: number;
  log_id?: string;
  logger?: string;
  attributes?: { [key: string]: Json };
}

export interface Tenant {
  name: string;
  workspace?: string;
  roles: string[];
}

/** A way in beside a password. */
export interface Provider {
  name: string;
  display_name: string;
}

/** Where somebody who has signed out here may do so at the provider that they came by. */
export interface SignedOut {
  provider: string;
  sign_out_url: string;
}

export interface Session {
  user: string;
  admin: boolean;
  tenants: Tenant[];
}

export interface SearchStats {
  segments?: number;
  blocks?: number;
  bytes?: number;
  elapsed_ms?: number;
}

export interface SearchPage {
  records: LogRecord[];
  next_cursor: string | null;
  /** False when a part of the store was not searched: the answer may lack lines. */
  complete: boolean;
  stats?: SearchStats;
}

export interface HistogramBucket {
  start: string;
  total: number;
  by?: Partial<Record<Level, number>>;
}

export interface Histogram {
  interval_ms: number;
  buckets: HistogramBucket[];
  complete: boolean;
}

export interface Context {
  /** In the order of their file. */
  records: LogRecord[];
}

/** One row of the audit log. */
export interface AuditEvent {
  time: string;
  /** `user:ann`, `token:0123456789ab`, `forwarded:ann`, `platform:team-a`, `agent:node-7`, `agent`, `uid:1000`, `service`, `nobody`. */
  actor: string;
  action: string;
  /** Null: it is about no tenant, and shown to platform administrators only. */
  tenant: string | null;
  /** The address that it came from; empty where it did not come over the network. */
  from: string;
  outcome: string;
  details: Json;
  /** Its number and hash in the chain; platform administrators only. */
  seq?: number;
  hash?: string;
}

export interface AuditPage {
  events: AuditEvent[];
  next_cursor: string | null;
}

export interface ErrorBody {
  code: string;
  message: string;
  hint?: string;
  /** Where in the query the mistake is, counted in characters from 0. */
  position?: number;
}

/** What the server says on the tail's WebSocket. */
export type TailFrame =
  | { type: "records"; records: LogRecord[]; cursor?: string }
  | { type: "skipped"; count: number; from?: string; to?: string; cursor?: string }
  | { type: "heartbeat"; cursor?: string }
  | { type: "error"; error: ErrorBody };

/** What the page says on it. */
export type TailRequest = { type: "query"; q: string } | { type: "pause" } | { type: "resume" };
