// What an address brings to someone who is not signed in: an invitation, or why a sign-in was refused.
//
// An invitation stands behind `#`, which browsers send to no server. Both are taken out of the address at once: one is a
// secret, and the other is news only once.

const REASONS = new Map([
  ["expired", "That sign-in took too long, was used before, or was begun in another browser. Try again."],
  ["cancelled", "The sign-in was cancelled at the provider."],
  ["provider", "The provider did not confirm who you are. Try again; if that does not help, tell an administrator."],
  ["not_allowed", "You are signed in at the provider, but nothing lets you in here. Ask an administrator for an invitation."],
  ["disabled", "Your account is locked. Ask an administrator."],
]);

export interface Arrival {
  /** The secret of an invitation. */
  invitation: string | null;
  /** Why a sign-in was refused, for people. */
  refused: string | null;
  /** The address without either. */
  rest: string;
}

/** Reads an address: path, query and what stands behind `#`. */
export function arrivalOf(pathname: string, search: string, hash: string): Arrival {
  const query = new URLSearchParams(search);
  const code = query.get("sign_in");
  query.delete("sign_in");
  const invitation = /^#invitation=(hgi_[0-9a-f]{12}_[\w-]{43})$/.exec(hash)?.[1] ?? null;
  const rest = query.toString();
  return {
    invitation,
    refused: code === null ? null : (REASONS.get(code) ?? "The sign-in was refused."),
    rest: pathname + (rest === "" ? "" : `?${rest}`) + (invitation === null ? hash : ""),
  };
}

const arrived = arrivalOf(location.pathname, location.search, location.hash);
if (arrived.invitation !== null || arrived.refused !== null) history.replaceState(null, "", arrived.rest);

/** How this page was come to. */
export const arrival: Arrival = arrived;
