// The actions that the audit log knows, in groups as a reader looks for them.

export const ACTIONS: readonly (readonly [group: string, actions: readonly string[]])[] = [
  ["Reading logs", ["search", "tail", "export", "context", "histogram", "values", "fields"]],
  ["Signing in", ["session.create", "session.refused", "session.end", "ingest.refused"]],
  ["People and machines", ["user.create", "user.password", "user.disable", "user.enable", "invitation.create", "invitation.accept", "invitation.revoke", "grant.give", "grant.take", "token.create", "token.revoke"]],
  ["Tenants", ["tenant.create", "limits.set", "retention.set", "erasure.request"]],
  ["Administration", ["admin.read", "audit.read", "audit.trim", "backup.make", "backup.restore"]],
  ["The service", ["service.start", "key.add", "key.rotate", "key.forget"]],
];

/** The groups, and behind them what a newer server has that they lack. */
export function grouped(seen: Iterable<string>): typeof ACTIONS {
  const known = new Set(ACTIONS.flatMap(([, actions]) => actions));
  const others = [...new Set(seen)].filter((action) => action !== "" && !known.has(action)).toSorted();
  return others.length === 0 ? ACTIONS : [...ACTIONS, ["Others", others]];
}
