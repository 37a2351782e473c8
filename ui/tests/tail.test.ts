import { beforeEach, describe, expect, test } from "vitest";
import type { LogRecord, TailFrame } from "../src/api/types";
import { ApiError } from "../src/api/error";
import { Connection, type ConnectionState, type SocketLike } from "../src/tail/connection";
import { WAITING_MAX, bounded } from "../src/tail/waiting";

class FakeSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  readonly sent: string[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(text);
  }
  close(): void {
    this.closed = true;
  }
  open(): void {
    this.onopen?.({} as Event);
  }
  say(frame: TailFrame | string): void {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) } as MessageEvent);
  }
  breakOff(): void {
    this.onclose?.({} as CloseEvent);
  }
}

/** Sockets, clock and chance in our hands. */
class World {
  now = 0;
  readonly opened: { since?: string; resume?: string }[] = [];
  readonly sockets: FakeSocket[] = [];
  readonly states: ConnectionState[] = [];
  readonly log: string[] = [];
  readonly tickets: string[] = [];
  readonly waiting: { given(ticket: string): void; refused(error: ApiError): void }[] = [];
  asked = 0;
  answers: "at once" | "late" | "refused" = "at once";
  error = new ApiError(503, { code: "unavailable", message: "m" });
  private timers = new Map<number, { at: number; run: () => void }>();
  private nextTimer = 1;

  readonly connection = new Connection(
    {
      ticket: (given, refused) => {
        this.asked += 1;
        if (this.answers === "late") this.waiting.push({ given, refused });
        else if (this.answers === "refused") refused(this.error);
        else given(`t${this.asked}`);
      },
      open: (from, ticket) => {
        this.opened.push(from);
        this.tickets.push(ticket);
        const socket = new FakeSocket();
        this.sockets.push(socket);
        return socket;
      },
      setTimeout: (run, ms) => {
        this.timers.set(this.nextTimer, { at: this.now + ms, run });
        return this.nextTimer++;
      },
      clearTimeout: (timer) => void this.timers.delete(timer),
      now: () => this.now,
      random: () => 1,
    },
    {
      state: (state) => this.states.push(state),
      records: (records) => this.log.push(...records.map((record) => record.id)),
      skipped: (count) => this.log.push(`skipped ${count}`),
      restarted: (from) => this.log.push(`restarted ${from}`),
      refused: () => this.log.push("refused"),
    },
    "now-1m",
  );

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (!last) throw new Error("no socket was opened");
    return last;
  }
  get state(): ConnectionState | undefined {
    return this.states.at(-1);
  }
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= until).toSorted(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = due[1].at;
      due[1].run();
    }
    this.now = until;
  }
}

const record = (id: string): LogRecord => ({ id, "@timestamp": `2026-11-23T22:00:0${id}Z`, message: "" });
const lines = (cursor: string, ...ids: string[]): TailFrame => ({ type: "records", records: ids.map(record), cursor });

let world: World;
beforeEach(() => {
  world = new World();
  world.connection.start();
});

describe("the tail's connection", () => {
  test("begins where it is told to", () => expect(world.opened).toEqual([{ since: "now-1m" }]));
  test("resumes with the last cursor, of whatever frame", () => {
    world.socket.open();
    world.socket.say(lines("c1", "1", "2"));
    world.socket.say({ type: "heartbeat", cursor: "c2" });
    world.socket.breakOff();
    world.pass(60_000);
    expect(world.opened[1]).toEqual({ resume: "c2" });
    world.socket.open();
    world.socket.say({ type: "skipped", count: 5, cursor: "c3" });
    world.socket.say(lines("c4", "3"));
    expect(world.log).toEqual(["1", "2", "skipped 5", "3"]);
  });
  test("waits longer with each try, within a bound, and starts over once it was heard", () => {
    const waits: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      world.socket.breakOff();
      if (world.state?.kind === "waiting") waits.push(world.state.until - world.now);
      world.pass(15_000);
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000]);
    world.socket.open();
    world.socket.say({ type: "heartbeat" });
    world.socket.breakOff();
    expect(world.state).toMatchObject({ kind: "waiting", until: world.now + 500 });
  });
  test("a frame of a socket that was given up is not heard", () => {
    const first = world.socket;
    const heard = first.onmessage;
    first.breakOff();
    world.pass(2000);
    heard?.({ data: JSON.stringify(lines("old", "9")) } as MessageEvent);
    expect(world.log).toEqual(["refused"]);
  });
  test("silence is a break", () => {
    world.socket.open();
    world.socket.say({ type: "heartbeat", cursor: "c1" });
    world.pass(44_000);
    expect(world.sockets).toHaveLength(1);
    world.pass(10_000);
    expect(world.sockets[0]?.closed).toBe(true);
    expect(world.opened[1]).toEqual({ resume: "c1" });
  });
  test("a try without an answer is told, so that the session can be looked at", () => {
    world.socket.breakOff();
    expect(world.log).toEqual(["refused"]);
  });
  test("a wrong query is not tried again", () => {
    world.socket.say({ type: "error", error: { code: "invalid_query", message: "m", position: 3 } });
    world.pass(600_000);
    expect(world.sockets).toHaveLength(1);
    expect(world.state).toMatchObject({ kind: "stopped", error: { position: 3 } });
  });
  test("a right that was taken away ends it", () => {
    world.socket.open();
    world.socket.say({ type: "error", error: { code: "forbidden", message: "m" } });
    expect(world.state).toMatchObject({ kind: "stopped", error: { status: 403 } });
  });
  test("trouble of the server is tried again", () => {
    world.socket.say({ type: "error", error: { code: "unavailable", message: "m" } });
    world.pass(2000);
    expect(world.sockets).toHaveLength(2);
  });
  test("a refused cursor begins anew from the last line, and says so", () => {
    world.socket.say(lines("c1", "1", "2"));
    world.socket.say({ type: "error", error: { code: "cursor_expired", message: "m" } });
    world.pass(2000);
    expect(world.log).toEqual(["1", "2", "restarted 2026-11-23T22:00:02Z"]);
    expect(world.opened[1]).toEqual({ since: "2026-11-23T22:00:02Z" });
  });
  test("what is no frame is passed over", () => {
    for (const text of ["", "{", "[]", '{"type":"of tomorrow"}', "7", "null"]) world.socket.say(text);
    world.socket.say(lines("c1", "1"));
    expect(world.log).toEqual(["1"]);
  });
  test("a pause holds over a reconnect", () => {
    world.socket.open();
    world.connection.pause(true);
    world.connection.pause(true);
    expect(world.socket.sent).toEqual(['{"type":"pause"}']);
    world.socket.breakOff();
    world.pass(2000);
    world.socket.open();
    expect(world.socket.sent).toEqual(['{"type":"pause"}']);
    world.connection.pause(false);
    expect(world.socket.sent.at(-1)).toBe('{"type":"resume"}');
  });
  test("a network that comes back ends the wait", () => {
    world.socket.breakOff();
    world.connection.hurry();
    expect(world.sockets).toHaveLength(2);
    world.pass(60_000);
    world.connection.hurry();
    expect(world.sockets.filter((socket) => !socket.closed)).toHaveLength(1);
  });
  test("each try has a ticket of its own", () => {
    world.socket.breakOff();
    world.pass(2000);
    world.socket.breakOff();
    world.pass(5000);
    expect(world.tickets).toEqual(["t1", "t2", "t3"]);
  });
  test("a server that gives no ticket is asked again, later", () => {
    world.answers = "refused";
    world.socket.breakOff();
    world.pass(1000);
    expect([world.asked, world.sockets.length, world.state?.kind]).toEqual([2, 1, "waiting"]);
    world.answers = "at once";
    world.pass(15_000);
    expect(world.sockets).toHaveLength(2);
  });
  test("a session that is over ends it", () => {
    world.answers = "refused";
    world.error = new ApiError(401, { code: "unauthenticated", message: "m" });
    world.socket.breakOff();
    world.pass(600_000);
    expect([world.asked, world.state]).toMatchObject([2, { kind: "stopped", error: { status: 401 } }]);
  });
  test("a ticket that comes too late is not used", () => {
    world.answers = "late";
    world.socket.breakOff();
    world.pass(1000);
    world.answers = "at once";
    world.pass(60_000);
    const sockets = world.sockets.length;
    expect(sockets).toBeGreaterThan(1);
    for (const one of world.waiting) one.given("late");
    for (const one of world.waiting) one.refused(world.error);
    expect([world.sockets.length, world.tickets.includes("late")]).toEqual([sockets, false]);
    world.connection.stop();
    world.waiting[0]?.given("late");
    expect(world.sockets).toHaveLength(sockets);
  });
  test("stopped is stopped", () => {
    world.connection.stop();
    world.pass(600_000);
    expect([world.sockets.length, world.socket.closed]).toEqual([1, true]);
  });
});

describe("lines that wait", () => {
  const rows = (count: number) => Array.from({ length: count }, (_, index) => ({ kind: "record" as const, record: { id: String(index), "@timestamp": `2026-11-23T22:00:00.${String(index).padStart(6, "0")}Z`, message: "" } }));
  test("are all kept within the bound", () => expect(bounded(rows(2 * WAITING_MAX))).toHaveLength(2 * WAITING_MAX));
  test("past it the oldest go, and are counted", () => {
    const kept = bounded(rows(2 * WAITING_MAX + 1));
    expect(kept).toHaveLength(WAITING_MAX + 1);
    expect(kept[0]).toEqual({ kind: "skipped", count: WAITING_MAX + 1, from: "2026-11-23T22:00:00.000000Z", to: `2026-11-23T22:00:00.00${WAITING_MAX}Z` });
  });
  test("counts add up when it happens again", () => {
    const once = bounded(rows(2 * WAITING_MAX + 1));
    const twice = bounded([...once, ...rows(WAITING_MAX)]);
    expect(twice[0]).toMatchObject({ kind: "skipped", count: 2 * WAITING_MAX + 1 });
  });
});
