// How the page is come to by someone who is not signed in.
import { beforeAll, expect, test, vi } from "vitest";

type Arrivals = typeof import("../src/session/arrival");
let arrivals: Arrivals;
beforeAll(async () => {
  vi.stubGlobal("location", { pathname: "/", search: "", hash: "" });
  arrivals = await import("../src/session/arrival");
});

const SECRET = `hgi_0123456789ab_${"x".repeat(43)}`;

test("an invitation is taken out of the address", () => {
  const found = arrivals.arrivalOf("/", "?q=x", `#invitation=${SECRET}`);
  expect(found).toEqual({ invitation: SECRET, refused: null, rest: "/?q=x" });
});

test("what only looks like one is none", () => {
  for (const hash of ["#invitation=", "#invitation=hg_0123456789ab_x", `#invitation=${SECRET}x`, `#x&invitation=${SECRET}`, "#line"]) {
    const found = arrivals.arrivalOf("/", "", hash);
    expect([found.invitation, found.rest]).toEqual([null, `/${hash}`]);
  }
});

test("a refused sign-in says why, and only in words of ours", () => {
  expect(arrivals.arrivalOf("/", "?sign_in=not_allowed&q=x", "").rest).toBe("/?q=x");
  expect(arrivals.arrivalOf("/", "?sign_in=not_allowed", "").refused).toContain("nothing lets you in");
  expect(arrivals.arrivalOf("/", "?sign_in=%3Cb%3Ecall%20us", "").refused).toBe("The sign-in was refused.");
  expect(arrivals.arrivalOf("/", "?sign_in=constructor", "").refused).toBe("The sign-in was refused.");
});

test("whoever signs out is told where else to, if anywhere", async () => {
  const { sessionState, signOut } = await import("../src/session/session");
  const elsewhere = { provider: "Our provider", sign_out_url: "https://idp.example.com/logout" };
  for (const [answer, expected] of [
    [new Response(JSON.stringify(elsewhere)), elsewhere],
    [new Response(null, { status: 204 }), null],
  ] as const) {
    const fetch = vi.fn<(path: string, init: RequestInit) => Promise<Response>>(() => Promise.resolve(answer));
    vi.stubGlobal("fetch", fetch);
    await signOut();
    expect(fetch.mock.calls[0]?.[1].method).toBe("DELETE");
    expect(sessionState.value).toEqual({ kind: "out", expired: false, elsewhere: expected });
  }
});
