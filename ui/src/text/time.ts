// Times as people read them. The server's string keeps its nanoseconds; a Date is made only to shift the zone.

export type Zone = "local" | "utc";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Milliseconds since the epoch. Some engines refuse more than three decimals, so the rest is cut. */
export function millis(timestamp: string): number {
  return Date.parse(timestamp.replace(/(\.\d{3})\d+/, "$1"));
}

interface Parts {
  year: number;
  month: number;
  day: number;
  clock: string;
  decimals: string;
}

function parts(timestamp: string | number, zone: Zone): Parts {
  const at = new Date(typeof timestamp === "number" ? timestamp : millis(timestamp));
  const utc = zone === "utc";
  const hours = utc ? at.getUTCHours() : at.getHours();
  const minutes = utc ? at.getUTCMinutes() : at.getMinutes();
  const decimals = typeof timestamp === "number" ? String(at.getUTCMilliseconds()).padStart(3, "0") : (/\.(\d+)/.exec(timestamp)?.[1] ?? "");
  return {
    year: utc ? at.getUTCFullYear() : at.getFullYear(),
    month: utc ? at.getUTCMonth() : at.getMonth(),
    day: utc ? at.getUTCDate() : at.getDate(),
    clock: `${two(hours)}:${two(minutes)}:${two(at.getUTCSeconds())}`,
    decimals,
  };
}

/** `22:17:20.265`: the time of day in a line. */
export function clock(timestamp: string, zone: Zone): string {
  const { clock, decimals } = parts(timestamp, zone);
  return `${clock}.${decimals.slice(0, 3).padEnd(3, "0")}`;
}

/** `Nov 23` */
export function day(timestamp: string | number, zone: Zone): string {
  const { month, day } = parts(timestamp, zone);
  return `${MONTHS[month]} ${two(day)}`;
}

/** `2026-11-23 22:17:20.265986000`, with every decimal that was sent. */
export function full(timestamp: string, zone: Zone): string {
  const { year, month, day, clock, decimals } = parts(timestamp, zone);
  return `${year}-${two(month + 1)}-${two(day)} ${clock}${decimals === "" ? "" : `.${decimals}`}`;
}

/** `22:17`, `22:17:20` or `Nov 23 22:17`: an axis mark, as fine as the step between marks needs. */
export function mark(at: number, zone: Zone, stepMs: number, spanMs: number): string {
  const { clock } = parts(at, zone);
  const time = stepMs < 60_000 ? clock : clock.slice(0, 5);
  return spanMs > 20 * 3_600_000 ? `${day(at, zone)} ${time}` : time;
}

/** The value of an `<input type="datetime-local">`, to the second. */
export function toInput(at: number, zone: Zone): string {
  const { year, month, day, clock } = parts(at, zone);
  return `${String(year).padStart(4, "0")}-${two(month + 1)}-${two(day)}T${clock}`;
}

/** The instant such a value names; null when it is not filled in. */
export function fromInput(value: string, zone: Zone): string | null {
  const at = Date.parse(zone === "utc" ? `${value}Z` : value);
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}

export function two(value: number): string {
  return String(value).padStart(2, "0");
}
