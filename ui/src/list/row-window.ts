// The rows that are held in memory: a bounded stretch of a longer list, which grows and shrinks at
// both ends, with the height of each row.
//
// A row keeps its index for as long as it is held; indices of rows put in front are smaller, and
// may be negative. So nothing that points at a row moves when the other end changes.

export class RowWindow<T> {
  /** The index of the first row that is held. */
  start = 0;
  private rows: T[] = [];
  /** Pixels by row; 0: not measured yet. */
  private heights: number[] = [];
  /** offsets[i]: where row i begins; true for i < valid. */
  private offsets: number[] = [0];
  private valid = 1;

  /** `estimate`: the height taken for a row that was never drawn. */
  constructor(private readonly estimate: number) {}

  get length(): number {
    return this.rows.length;
  }

  /** The index after the last row. */
  get end(): number {
    return this.start + this.rows.length;
  }

  at(index: number): T | undefined {
    return this.rows[index - this.start];
  }

  all(): readonly T[] {
    return this.rows;
  }

  append(added: readonly T[]): void {
    for (const row of added) {
      this.rows.push(row);
      this.heights.push(0);
    }
  }

  prepend(added: readonly T[]): void {
    this.rows = [...added, ...this.rows];
    this.heights = [...Array.from<number>({ length: added.length }).fill(0), ...this.heights];
    this.start -= added.length;
    this.valid = 1;
  }

  dropFront(count: number): void {
    const dropped = this.rows.splice(0, Math.max(0, count)).length;
    this.heights.splice(0, dropped);
    this.start += dropped;
    this.valid = 1;
  }

  dropBack(count: number): void {
    const kept = Math.max(0, this.rows.length - Math.max(0, count));
    this.rows.length = kept;
    this.heights.length = kept;
    this.valid = Math.min(this.valid, kept + 1);
  }

  /** Notes the height that a row was drawn with. Returns whether it changed anything. */
  measure(index: number, height: number): boolean {
    const at = index - this.start;
    if (at < 0 || at >= this.rows.length || height <= 0) return false;
    if (Math.abs(this.heightAt(at) - height) < 0.05) return false;
    this.heights[at] = height;
    this.valid = Math.min(this.valid, at + 1);
    return true;
  }

  /** Forgets all heights: the rows will be drawn otherwise. */
  forgetHeights(): void {
    this.heights.fill(0);
    this.valid = 1;
  }

  /** Pixels from the first held row's top to this row's top; `end` gives the height of all. */
  offset(index: number): number {
    const at = Math.min(Math.max(index - this.start, 0), this.rows.length);
    for (; this.valid <= at; this.valid += 1) {
      this.offsets[this.valid] = (this.offsets[this.valid - 1] ?? 0) + this.heightAt(this.valid - 1);
    }
    return this.offsets[at] ?? 0;
  }

  get height(): number {
    return this.offset(this.end);
  }

  /** The row at this many pixels from the top: the first or last one, beyond the ends. */
  indexAt(pixels: number): number {
    let low = 0;
    let high = Math.max(0, this.rows.length - 1);
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.offset(this.start + middle) <= pixels) low = middle;
      else high = middle - 1;
    }
    return this.start + low;
  }

  /** The rows to draw for a view of `height` pixels from `top` on, with `spare` pixels around it. */
  visible(top: number, height: number, spare: number): { first: number; end: number } {
    if (this.rows.length === 0) return { first: this.start, end: this.start };
    return { first: this.indexAt(top - spare), end: this.indexAt(top + height + spare) + 1 };
  }

  private heightAt(at: number): number {
    return this.heights[at] || this.estimate;
  }
}
