// Who is signed in, and what they may read.
import { computed, signal } from "@preact/signals";
import * as api from "../api/client";
import { type ApiError, toApiError } from "../api/error";
import type { Session, SignedOut } from "../api/types";

export type SessionState =
  | { kind: "asking" }
  | { kind: "out"; expired: boolean; elsewhere: SignedOut | null }
  | { kind: "in"; session: Session }
  | { kind: "failed"; error: ApiError };

const state = signal<SessionState>({ kind: "asking" });

export const sessionState = computed(() => state.value);

/** Names of the readable tenants, sorted. */
export const tenantNames = computed(() => (state.value.kind === "in" ? state.value.session.tenants.map((tenant) => tenant.name).toSorted() : []));

/** Tenants whose audit log the caller may read, sorted. For what the page offers; the server decides. */
export const operatedNames = computed(() => {
  if (state.value.kind !== "in") return [];
  return state.value.session.tenants.filter((tenant) => tenant.roles.includes("operator")).map((tenant) => tenant.name).toSorted();
});

export const isAdmin = computed(() => state.value.kind === "in" && state.value.session.admin);

api.onSignedOut(() => {
  state.value = { kind: "out", expired: state.value.kind === "in", elsewhere: null };
});

/** Asks the server who we are: at the start, and when a tail breaks and the reason is not told. */
export async function refresh(): Promise<void> {
  try {
    state.value = { kind: "in", session: await api.getSession() };
  } catch (thrown) {
    const error = toApiError(thrown);
    if (error === null || error.status === 401) return;
    // A page that is in use stays in use: the calls it makes report their own errors.
    if (state.value.kind === "asking" || state.value.kind === "failed") state.value = { kind: "failed", error };
  }
}

export async function signIn(user: string, password: string): Promise<void> {
  state.value = { kind: "in", session: await api.signIn(user, password) };
}

export async function signOut(): Promise<void> {
  const elsewhere = (await api.signOut()) ?? null;
  state.value = { kind: "out", expired: false, elsewhere };
}
