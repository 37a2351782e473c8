// The strip of counts over time: bars stacked by level, a mark under the pointer, drag to look closer.
import type { RefObject, VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Histogram, LEVELS } from "../api/types";
import { show } from "../query/location";
import { count, counted, short } from "../text/quantity";
import { day, mark, millis } from "../text/time";
import { theme, zone } from "../theme/preferences";
import { type Bar, bars, markStep, shares, total } from "./bars";
import styles from "./histogram.module.css";

const HEIGHT = 44;
const LABEL_PIXELS = 96;
/** Room for the height of the highest bar, at the end of the marks. */
const MOST_PIXELS = 64;
/** A drag shorter than this is a click that slipped. */
const DRAG_PIXELS = 5;

export function HistogramStrip(props: { data: Histogram | null; loading: boolean }): VNode {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(root);
  const { data } = props;
  const [over, setOver] = useState<number | null>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const laid = data === null || width === 0 ? [] : bars(data, width, HEIGHT);
  useScheme(() => draw(canvas.current, width, laid, over));
  useLayoutEffect(() => draw(canvas.current, width, laid, over));

  const slot = (event: PointerEvent) => slotAt(event, root.current, data);
  const zoom = (from: number, to: number) => {
    const range = data && between(data, from, to);
    if (range) show({ range, live: false, line: null });
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0 || !data || data.buckets.length === 0) return;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    setDrag({ from: event.offsetX, to: event.offsetX });
  };
  const move = (event: PointerEvent) => {
    setOver(slot(event));
    if (drag) setDrag({ from: drag.from, to: pixels(event, root.current) });
  };
  const up = (event: PointerEvent) => {
    if (!drag || !data) return;
    const to = pixels(event, root.current);
    setDrag(null);
    const at = (pixel: number) => Math.min(data.buckets.length - 1, Math.max(0, Math.floor((pixel / width) * data.buckets.length)));
    if (Math.abs(to - drag.from) >= DRAG_PIXELS) zoom(at(Math.min(drag.from, to)), at(Math.max(drag.from, to)));
    else zoom(at(to), at(to));
  };
  return (
    <div class={styles["strip"]} data-loading={props.loading}>
      <div
        ref={root}
        class={styles["plot"]}
        role="img"
        aria-label={data ? spoken(data) : "Lines over time"}
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={() => setDrag(null)}
        onPointerLeave={() => setOver(null)}
      >
        <canvas ref={canvas} class={styles["canvas"]} data-histogram={data ? total(data) : ""} />
        {drag && Math.abs(drag.to - drag.from) >= DRAG_PIXELS && (
          <div class={styles["brush"]} style={{ left: `${Math.min(drag.from, drag.to)}px`, width: `${Math.abs(drag.to - drag.from)}px` }} />
        )}
        {data && over !== null && !drag && <Pointed data={data} index={over} width={width} />}
      </div>
      <Axis data={data} width={width} />
    </div>
  );
}

function Axis({ data, width }: { data: Histogram | null; width: number }): VNode {
  const marks: VNode[] = [];
  const first = data?.buckets[0];
  if (data && first && width > 0) {
    const start = millis(first.start);
    const span = data.interval_ms * data.buckets.length;
    const step = markStep(span, width, LABEL_PIXELS);
    // Round hours of the reader's zone, not of UTC.
    const shift = zone.value === "utc" ? 0 : new Date(start).getTimezoneOffset() * 60_000;
    for (let at = Math.ceil((start - shift) / step) * step + shift; at < start + span; at += step) {
      const left = ((at - start) / span) * width;
      if (left > width - LABEL_PIXELS - MOST_PIXELS) break;
      marks.push(
        <span key={at} style={{ left: `${left}px` }}>
          {mark(at, zone.value, step, span)}
        </span>,
      );
    }
  }
  return (
    <div class={styles["axis"]} aria-hidden="true">
      {marks}
      {first && <b title="Lines in the highest bar">peak {short(Math.max(...data.buckets.map((bucket) => bucket.total)))}</b>}
    </div>
  );
}

function Pointed({ data, index, width }: { data: Histogram; index: number; width: number }): VNode | null {
  const bucket = data.buckets[index];
  if (!bucket) return null;
  const center = ((index + 0.5) / data.buckets.length) * width;
  const start = millis(bucket.start);
  return (
    <div class={styles["pointed"]} style={{ left: `${Math.min(Math.max(center, 84), Math.max(84, width - 84))}px` }}>
      <div class={styles["when"]}>
        {day(start, zone.value)} {mark(start, zone.value, data.interval_ms, 0)} – {mark(start + data.interval_ms, zone.value, data.interval_ms, 0)}
      </div>
      {shares(bucket.total, bucket.by ?? {}).map(([level, number]) => (
        <div key={level} class={styles["share"]} data-level={level}>
          <span>{level === "none" ? "no level" : level}</span>
          <span>{count(number)}</span>
        </div>
      ))}
      <div class={styles["sum"]}>{counted(bucket.total, "line")}</div>
    </div>
  );
}

function slotAt(event: PointerEvent, root: HTMLElement | null, data: Histogram | null): number | null {
  if (!root || !data || data.buckets.length === 0) return null;
  const index = Math.floor((pixels(event, root) / root.clientWidth) * data.buckets.length);
  return index >= 0 && index < data.buckets.length ? index : null;
}

function pixels(event: PointerEvent, root: HTMLElement | null): number {
  if (!root) return 0;
  const box = root.getBoundingClientRect();
  return Math.min(Math.max(event.clientX - box.left, 0), box.width);
}

/** The range of some buckets; null where it would be no narrower than a second. */
function between(data: Histogram, from: number, to: number) {
  const first = data.buckets[from];
  const last = data.buckets[to];
  if (!first || !last || data.interval_ms < 1000) return null;
  const end = new Date(millis(last.start) + data.interval_ms).toISOString();
  return { kind: "between", start: new Date(millis(first.start)).toISOString(), end } as const;
}

function spoken(data: Histogram): string {
  const by = LEVELS.toReversed()
    .map((level) => [level, data.buckets.reduce((sum, bucket) => sum + (bucket.by?.[level] ?? 0), 0)] as const)
    .filter(([, number]) => number > 0)
    .map(([level, number]) => `${count(number)} ${level}`);
  return `Lines over time: ${counted(total(data), "line")}${by.length > 0 ? `, of these ${by.join(", ")}` : ""}`;
}

function draw(canvas: HTMLCanvasElement | null, width: number, laid: readonly Bar[], over: number | null): void {
  const context = canvas?.getContext("2d");
  if (!canvas || !context || width === 0) return;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(HEIGHT * scale);
  context.scale(scale, scale);
  const colors = new Map<string, string>();
  for (const [index, bar] of laid.entries()) {
    context.globalAlpha = over === null || over === index ? 1 : 0.6;
    for (const share of bar.shares) {
      context.fillStyle = colorOf(canvas, share.level, colors);
      context.fillRect(bar.left, share.top, bar.width, share.height);
    }
  }
}

const BAR_COLORS: Record<string, string> = {
  critical: "--bar-critical", error: "--bar-error", warning: "--bar-warning", info: "--bar-info", debug: "--bar-debug", trace: "--bar-debug", none: "--bar-debug",
};

/** A canvas knows no custom properties: an element is given the colour, and asked what it became. */
function colorOf(canvas: HTMLCanvasElement, level: string, known: Map<string, string>): string {
  const before = known.get(level);
  if (before !== undefined) return before;
  canvas.style.color = `var(${BAR_COLORS[level] ?? "--none"})`;
  const color = getComputedStyle(canvas).color;
  known.set(level, color);
  return color;
}

function useWidth(root: RefObject<HTMLElement>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = root.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, [root]);
  return width;
}

/** Draws again when light and dark change: pixels do not follow the style sheet. */
function useScheme(redraw: () => void): void {
  const latest = useRef(redraw);
  latest.current = redraw;
  const chosen = theme.value;
  useEffect(() => {
    latest.current();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => latest.current();
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, [chosen]);
}
