// A scroller that draws only the rows in sight, and keeps what the reader looks at where it is
// while rows come, go and change their height around it.
import type { ComponentChildren, VNode } from "preact";
import type { RefObject } from "preact";
import { useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { RowWindow } from "./row-window";
import styles from "./scroller.module.css";

/** Rows this far out of sight are drawn too, so that a flick does not show blanks. */
const SPARE_PIXELS = 400;
/** More rows are asked for when the reader is this close to an end. */
const EDGE_PIXELS = 1200;
/** The reader counts as being at the end within this distance: zoom makes positions fractional. */
const END_TOLERANCE_PIXELS = 10;

export interface ScrollerHandle {
  toStart(): void;
  toEnd(): void;
  /** Brings a row into sight; `center` puts it in the middle. */
  show(index: number, center?: boolean): void;
  page(direction: 1 | -1): void;
}

interface ScrollerProps<T> {
  rows: RowWindow<T>;
  /** Changes whenever `rows` did. */
  version: number;
  /** Changes when all rows are drawn otherwise, so that known heights are void. */
  layout: string;
  render(row: T, index: number): VNode;
  /** Stay at the end as rows are added. */
  follow: boolean;
  /** The reader scrolled away from the end, or came back to it. */
  onFollow?(follow: boolean): void;
  onEdge(edge: "start" | "end"): void;
  /** The row to begin at, in the middle of the view. */
  begin?: number;
  label: string;
  before?: ComponentChildren;
  after?: ComponentChildren;
  handle?: RefObject<ScrollerHandle>;
}

/** What must survive between draws, outside Preact's state since it changes with every pixel. */
interface Position {
  /** The row at the top of the view, and how far it is scrolled past. */
  anchor: { index: number; past: number } | null;
  /** The scroll position that we set, to tell our own scroll events from the reader's. */
  placed: number;
  rows: RowWindow<unknown> | null;
  layout: string;
}

export function Scroller<T>(props: ScrollerProps<T>): VNode {
  const outer = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const slice = useRef<HTMLDivElement>(null);
  const position = useRef<Position>({ anchor: null, placed: 0, rows: null, layout: props.layout });
  const latest = useRef(props);
  latest.current = props;
  const [drawn, setDrawn] = useState({ first: 0, end: 0 });

  const view = useRef<View<T> | null>(null);
  view.current ??= new View<T>(outer, body, slice, position, latest, setDrawn);
  const scroller = view.current;

  useLayoutEffect(() => scroller.place());
  useEffect(() => scroller.watch(), [scroller]);
  useImperativeHandle(props.handle ?? null, () => scroller, [scroller]);

  const drawnRows: VNode[] = [];
  const first = Math.max(drawn.first, props.rows.start);
  const end = Math.min(drawn.end, props.rows.end);
  for (let index = first; index < end; index += 1) {
    const row = props.rows.at(index);
    if (row !== undefined) {
      drawnRows.push(
        <div key={index} data-index={index} role="listitem">
          {props.render(row, index)}
        </div>,
      );
    }
  }
  return (
    <div ref={outer} class={styles["scroller"]} tabIndex={0} role="region" aria-label={props.label} onScroll={scroller.scrolled} data-scroller>
      {props.before}
      <div ref={body} class={styles["body"]}>
        <div ref={slice} class={styles["slice"]} role="list">
          {drawnRows}
        </div>
      </div>
      {props.after}
    </div>
  );
}

type Box = RefObject<HTMLDivElement>;

class View<T> implements ScrollerHandle {
  private observer: ResizeObserver | null = null;
  private readonly observed = new Set<Element>();
  private drawn = { first: 0, end: 0 };

  constructor(
    private readonly outer: Box,
    private readonly body: Box,
    private readonly slice: Box,
    private readonly position: { current: Position },
    private readonly props: { current: ScrollerProps<T> },
    private readonly draw: (range: { first: number; end: number }) => void,
  ) {}

  /** After every draw: measure, put the body and the view where they belong, draw what came into sight. */
  place = (): void => {
    const outer = this.outer.current;
    const body = this.body.current;
    const slice = this.slice.current;
    if (!outer || !body || !slice) return;
    const { rows, layout, follow, begin } = this.props.current;
    const position = this.position.current;
    const fresh = position.rows !== rows;
    if (fresh) {
      position.rows = rows as RowWindow<unknown>;
      position.anchor = null;
    }
    if (position.layout !== layout) {
      position.layout = layout;
      rows.forgetHeights();
    }
    this.measure(slice);
    this.observe(slice);
    body.style.height = `${rows.height}px`;
    slice.style.top = `${rows.offset(Math.max(this.drawn.first, rows.start))}px`;
    if (fresh && begin !== undefined) this.show(begin, true);
    else this.settle(outer, body, follow, fresh);
    this.drawVisible(outer, body);
    this.askForMore(outer, body);
  };

  /** Watches the view's own width: wrapped rows change height with it. */
  watch(): () => void {
    const outer = this.outer.current;
    if (!outer) return () => {};
    let width = outer.clientWidth;
    const resized = new ResizeObserver(() => {
      if (outer.clientWidth !== width) {
        width = outer.clientWidth;
        this.props.current.rows.forgetHeights();
      }
      this.place();
    });
    resized.observe(outer);
    return () => {
      resized.disconnect();
      this.observer?.disconnect();
      this.observer = null;
      this.observed.clear();
    };
  }

  scrolled = (): void => {
    const outer = this.outer.current;
    const body = this.body.current;
    if (!outer || !body) return;
    const position = this.position.current;
    const { follow, onFollow } = this.props.current;
    const moved = outer.scrollTop - position.placed;
    if (Math.abs(moved) >= 1) {
      const atEnd = outer.scrollHeight - outer.clientHeight - outer.scrollTop <= END_TOLERANCE_PIXELS;
      if (follow && moved < 0 && !atEnd) onFollow?.(false);
      if (!follow && moved > 0 && atEnd) onFollow?.(true);
      position.placed = outer.scrollTop;
    }
    this.setAnchor(outer, body);
    this.drawVisible(outer, body);
    this.askForMore(outer, body);
  };

  toStart(): void {
    this.outer.current?.scrollTo({ top: 0 });
  }

  toEnd(): void {
    const outer = this.outer.current;
    outer?.scrollTo({ top: outer.scrollHeight });
  }

  page(direction: 1 | -1): void {
    const outer = this.outer.current;
    outer?.scrollBy({ top: direction * Math.max(40, outer.clientHeight - 40) });
  }

  show(index: number, center = false): void {
    const outer = this.outer.current;
    const body = this.body.current;
    if (!outer || !body) return;
    const { rows } = this.props.current;
    const top = body.offsetTop + rows.offset(index);
    const bottom = body.offsetTop + rows.offset(index + 1);
    let to = outer.scrollTop;
    if (center) to = (top + bottom - outer.clientHeight) / 2;
    else if (top < to) to = top - 4;
    else if (bottom > to + outer.clientHeight) to = bottom - outer.clientHeight + 4;
    this.scrollTo(outer, body, to);
    this.drawVisible(outer, body);
  }

  private settle(outer: HTMLElement, body: HTMLElement, follow: boolean, fresh: boolean): void {
    const { anchor } = this.position.current;
    const { rows } = this.props.current;
    if (follow) this.scrollTo(outer, body, outer.scrollHeight);
    else if (fresh) this.scrollTo(outer, body, 0);
    else if (anchor && anchor.index >= rows.start) {
      const wanted = body.offsetTop + rows.offset(anchor.index) + anchor.past;
      if (Math.abs(wanted - outer.scrollTop) >= 0.5) this.scrollTo(outer, body, wanted);
    }
  }

  private scrollTo(outer: HTMLElement, body: HTMLElement, top: number): void {
    outer.scrollTop = top;
    this.position.current.placed = outer.scrollTop;
    this.setAnchor(outer, body);
  }

  private setAnchor(outer: HTMLElement, body: HTMLElement): void {
    const { rows } = this.props.current;
    const top = outer.scrollTop - body.offsetTop;
    if (rows.length === 0) {
      this.position.current.anchor = null;
      return;
    }
    const index = rows.indexAt(top);
    this.position.current.anchor = { index, past: top - rows.offset(index) };
  }

  private measure(slice: HTMLElement): boolean {
    const { rows } = this.props.current;
    let changed = false;
    for (const element of slice.children) {
      const index = Number((element as HTMLElement).dataset["index"]);
      if (rows.measure(index, element.getBoundingClientRect().height)) changed = true;
    }
    return changed;
  }

  /** Rows change height by themselves too: opened, a longer text shown, a font that comes late. */
  private observe(slice: HTMLElement): void {
    this.observer ??= new ResizeObserver(() => {
      const inner = this.slice.current;
      if (inner && this.measure(inner)) this.place();
    });
    const now = new Set<Element>(slice.children);
    for (const element of this.observed) {
      if (now.has(element)) continue;
      this.observer.unobserve(element);
      this.observed.delete(element);
    }
    for (const element of now) {
      if (this.observed.has(element)) continue;
      this.observer.observe(element);
      this.observed.add(element);
    }
  }

  private drawVisible(outer: HTMLElement, body: HTMLElement): void {
    const { rows } = this.props.current;
    const next = rows.visible(outer.scrollTop - body.offsetTop, outer.clientHeight, SPARE_PIXELS);
    if (next.first === this.drawn.first && next.end === this.drawn.end) return;
    this.drawn = next;
    this.draw(next);
  }

  private askForMore(outer: HTMLElement, body: HTMLElement): void {
    const { onEdge, rows } = this.props.current;
    if (rows.length === 0) return;
    const top = outer.scrollTop - body.offsetTop;
    if (top < EDGE_PIXELS) onEdge("start");
    if (rows.height - top - outer.clientHeight < EDGE_PIXELS) onEdge("end");
  }
}
