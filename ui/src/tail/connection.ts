// One tail's WebSocket, kept alive: back-off between tries, the cursor that resumes without gap or
// repeat, and a watch on silence. Knows no screen, and gets socket, clock and chance from outside.
import { ApiError } from "../api/error";
import type { ErrorBody, LogRecord, TailFrame, TailRequest } from "../api/types";

/** The first wait after a break; each further try doubles it. */
const BACKOFF_FIRST_MS = 500;
/** Longest wait: a server that comes back should be noticed while the reader still looks. */
const BACKOFF_MAX_MS = 15_000;
/** Without any frame for so long the line counts as dead: the server sends heartbeats more often. */
const SILENCE_MAX_MS = 45_000;

export interface SocketLike {
  send(text: string): void;
  close(): void;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
}

export interface Surroundings {
  /** Asks for what lets one socket be opened, once; calls one of the two. */
  ticket(given: (ticket: string) => void, refused: (error: ApiError) => void): void;
  open(from: { since?: string; resume?: string }, ticket: string): SocketLike;
  setTimeout(callback: () => void, ms: number): number;
  clearTimeout(timer: number): void;
  now(): number;
  random(): number;
}

export type ConnectionState =
  | { kind: "connecting"; tries: number }
  | { kind: "open" }
  | { kind: "waiting"; tries: number; until: number }
  /** Trying again would not help: the query is wrong, or the right to read was taken away. */
  | { kind: "stopped"; error: ApiError };

export interface Listener {
  state(state: ConnectionState): void;
  records(records: LogRecord[]): void;
  skipped(count: number, from: string | undefined, to: string | undefined): void;
  /** The cursor was refused, so the tail begins anew: lines may be missing since `from`. */
  restarted(from: string | null): void;
  /** A try ended without an answer: the session may be over, which a WebSocket cannot tell. */
  refused(): void;
}

export class Connection {
  private socket: SocketLike | null = null;
  private cursor: string | undefined;
  private lastTime: string | null = null;
  private tries = 0;
  /** Counts up with each try that begins or is given up: what an older one asked for is not waited for any more. */
  private attempt = 0;
  private retry: number | null = null;
  private silence: number | null = null;
  private paused = false;
  private over = false;

  constructor(
    private readonly around: Surroundings,
    private readonly listener: Listener,
    private readonly since: string,
  ) {}

  start(): void {
    if (this.over) return;
    this.clear("retry");
    this.tries += 1;
    this.attempt += 1;
    const { attempt } = this;
    this.listener.state({ kind: "connecting", tries: this.tries });
    this.watchSilence();
    this.around.ticket(
      (ticket) => {
        if (this.attempt === attempt) this.open(ticket);
      },
      (error) => {
        if (this.attempt === attempt) this.denied(error);
      },
    );
  }

  private open(ticket: string): void {
    const socket = this.around.open(this.cursor === undefined ? { since: this.lastTime ?? this.since } : { resume: this.cursor }, ticket);
    this.socket = socket;
    let heard = false;
    this.watchSilence();
    socket.onopen = () => {
      this.listener.state({ kind: "open" });
      if (this.paused) this.say({ type: "pause" });
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      heard = true;
      this.watchSilence();
      this.take(String(event.data));
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      if (!heard) this.listener.refused();
      this.lost();
    };
  }

  /** Asks the server to hold its lines, or to go on. Holds over a reconnect. */
  pause(paused: boolean): void {
    if (this.paused === paused) return;
    this.paused = paused;
    this.say({ type: paused ? "pause" : "resume" });
  }

  /** The network came back, or the page into sight: no reason to wait any longer. */
  hurry(): void {
    if (this.retry !== null) this.start();
  }

  stop(): void {
    this.over = true;
    this.drop();
    this.clear("retry");
  }

  private take(text: string): void {
    const frame = parseFrame(text);
    if (!frame) return;
    if (frame.type === "error") {
      this.failed(frame.error);
      return;
    }
    this.tries = 0;
    if (frame.type === "records") {
      this.lastTime = frame.records.at(-1)?.["@timestamp"] ?? this.lastTime;
      this.listener.records(frame.records);
    }
    if (frame.type === "skipped") this.listener.skipped(frame.count, frame.from, frame.to);
    // Last: a cursor must never be ahead of what was handed on.
    if (frame.cursor !== undefined) this.cursor = frame.cursor;
  }

  /** No ticket: the session is over, or the server has trouble that may pass. */
  private denied(error: ApiError): void {
    if (error.status !== 401 && error.status !== 403) {
      this.lost();
      return;
    }
    this.drop();
    this.over = true;
    this.listener.state({ kind: "stopped", error });
  }

  private failed(error: ErrorBody): void {
    if (this.cursor !== undefined && /cursor|resume/.test(error.code)) {
      this.cursor = undefined;
      this.listener.restarted(this.lastTime);
      this.lost();
    } else if (error.position !== undefined || FINAL.test(error.code)) {
      this.drop();
      this.over = true;
      this.listener.state({ kind: "stopped", error: new ApiError(/forbidden/.test(error.code) ? 403 : 400, error) });
    } else {
      this.lost();
    }
  }

  /** Waits, longer with each try, and never exactly as long as all other pages that lost this server. */
  private lost(): void {
    this.drop();
    if (this.over) return;
    const longest = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.tries, 10));
    const wait = longest * (0.5 + this.around.random() / 2);
    this.listener.state({ kind: "waiting", tries: this.tries, until: this.around.now() + wait });
    this.retry = this.around.setTimeout(() => {
      this.retry = null;
      this.start();
    }, wait);
  }

  private watchSilence(): void {
    this.clear("silence");
    this.silence = this.around.setTimeout(() => this.lost(), SILENCE_MAX_MS);
  }

  private drop(): void {
    this.attempt += 1;
    this.clear("silence");
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  private clear(timer: "retry" | "silence"): void {
    const running = this[timer];
    if (running !== null) this.around.clearTimeout(running);
    this[timer] = null;
  }

  private say(request: TailRequest): void {
    try {
      this.socket?.send(JSON.stringify(request));
    } catch {
      // Not open yet: `onopen` says it again.
    }
  }
}

/** Codes that the same request would meet again. */
const FINAL = /forbidden|unauth|syntax|invalid|not_found|too_large/;

function parseFrame(text: string): TailFrame | null {
  try {
    const frame = JSON.parse(text) as TailFrame;
    // Frames of a newer server that this page does not know are passed over.
    return ["records", "skipped", "heartbeat", "error"].includes(frame.type) ? frame : null;
  } catch {
    return null;
  }
}
