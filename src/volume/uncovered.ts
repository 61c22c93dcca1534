/** What is still to be found of one block: up to a few intervals, reused between blocks. */
export class Uncovered {
  count = 0;
  readonly starts: number[] = [];
  readonly ends: number[] = [];

  reset(start: number, end: number): void {
    this.count = 1;
    this.starts[0] = start;
    this.ends[0] = end;
  }

  /** Takes [from, to), which lies within interval `i`, away. */
  cut(i: number, from: number, to: number): void {
    const start = this.starts[i] ?? 0;
    const end = this.ends[i] ?? 0;
    if (start < from && to < end) {
      this.ends[i] = from;
      this.starts[this.count] = to;
      this.ends[this.count] = end;
      this.count += 1;
    } else if (start < from) {
      this.ends[i] = from;
    } else if (to < end) {
      this.starts[i] = to;
    } else {
      this.count -= 1;
      this.starts[i] = this.starts[this.count] ?? 0;
      this.ends[i] = this.ends[this.count] ?? 0;
    }
  }
}
