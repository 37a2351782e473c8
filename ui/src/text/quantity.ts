// Counts and sizes as people read them.

const COUNT = new Intl.NumberFormat("en-US");

/** `12,345` */
export function count(value: number): string {
  return COUNT.format(value);
}

/** `1 line`, `12,345 lines` */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `12.3k`, `4.1M`: where room is short. */
export function short(value: number): string {
  if (value < 10_000) return count(value);
  if (value < 1_000_000) return `${trimmed(value / 1000)}k`;
  if (value < 1_000_000_000) return `${trimmed(value / 1_000_000)}M`;
  return `${trimmed(value / 1_000_000_000)}G`;
}

/** `12.3 MB`, in powers of ten as disks are sold. */
export function bytes(value: number): string {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]] as const) {
    if (value >= size) return `${trimmed(value / size)} ${unit}`;
  }
  return `${value} B`;
}

/** `38 ms`, `1.4 s` */
export function duration(ms: number): string {
  return ms < 1000 ? `${ms < 10 ? trimmed(ms) : Math.round(ms)} ms` : `${trimmed(ms / 1000)} s`;
}

function trimmed(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0).replace(/\.0$/, "");
}
