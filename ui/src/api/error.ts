// What can go wrong between the page and the server, in one shape.
import { escaped } from "../text/escapes";
import type { ErrorBody } from "./types";

/** The code of an error that no server sent: the network failed, or the answer was not ours. */
export const UNREACHABLE = "unreachable";

export class ApiError extends Error {
  /** The HTTP status; 0 where no answer came. */
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;
  readonly position: number | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, body: ErrorBody, retryAfterSeconds?: number) {
    // It may quote what others wrote.
    super(escaped(body.message));
    this.name = "ApiError";
    this.status = status;
    this.code = body.code;
    this.hint = body.hint === undefined ? undefined : escaped(body.hint);
    this.position = body.position;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Any thrown value as an `ApiError`; null for a call that we gave up ourselves. */
export function toApiError(thrown: unknown): ApiError | null {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof DOMException && thrown.name === "AbortError") return null;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new ApiError(0, { code: UNREACHABLE, message });
}

/** Reads the contract's error body, and makes one up for answers of a proxy in between. */
export function errorOf(status: number, body: unknown, retryAfter: string | null): ApiError {
  const seconds = retryAfter !== null && /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined;
  const inner = (body as { error?: Partial<ErrorBody> } | null)?.error;
  if (inner && typeof inner.message === "string") {
    const error: ErrorBody = { code: String(inner.code ?? "unknown"), message: inner.message };
    if (typeof inner.hint === "string") error.hint = inner.hint;
    if (typeof inner.position === "number") error.position = inner.position;
    return new ApiError(status, error, seconds);
  }
  return new ApiError(status, { code: "unknown", message: `the server answered ${status}` }, seconds);
}
