// A query cut at the place of a mistake.

/** Characters shown around the mistake: of a long query only the part that matters. */
const AROUND = 60;

/** Cuts the query at its `position`-th character; positions past its end mean the end. */
export function split(query: string, position: number): { before: string; at: string; after: string } {
  const characters = [...query];
  const here = Math.min(Math.max(0, Math.trunc(position)), characters.length);
  const before = characters.slice(0, here);
  const after = characters.slice(here + 1);
  return {
    before: before.length > AROUND ? `…${before.slice(-AROUND).join("")}` : before.join(""),
    at: characters[here] ?? "",
    after: after.length > AROUND ? `${after.slice(0, AROUND).join("")}…` : after.join(""),
  };
}
