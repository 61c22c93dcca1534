import { JnbdError } from '../../platform/errors.ts';
import { extentState } from '../../volume/volume-extents.ts';
import type { ExportClient, ExportSession, ExtentList } from './export.ts';

/** What can be read as an export, for somebody in this process who waits. One read at a time. */
export class SessionReader {
  readonly #session: ExportSession;
  readonly #extents: ExtentList = {
    count: 0,
    lengths: new Float64Array(1),
    states: new Uint8Array(1),
  };
  #completed: ((error: number) => void) | undefined;

  constructor(open: (client: ExportClient) => ExportSession) {
    this.#session = open({
      peer: 'this system',
      admitted: () => undefined,
      durableReached: () => undefined,
      durableFailed: () => undefined,
      readCompleted: (_token, error) => this.#completed?.(error),
      revoke: () => undefined,
    });
  }

  get sizeBytes(): number {
    return this.#session.sizeBytes;
  }

  /** Where zeroes from `offset` on end, `end` at most, as far as that is known without reading; `offset`: none are. */
  zeroesThrough(offset: number, end: number): number {
    const extents = this.#extents;
    if (this.#session.extents(offset, end - offset, extents) !== 0) return offset;
    if (extents.count === 0 || ((extents.states[0] ?? 0) & extentState.zero) === 0) return offset;
    return Math.min(end, offset + (extents.lengths[0] ?? 0));
  }

  /** Into the beginning of `bytes`. Rejects with JnbdError read_failed. */
  async read(offset: number, length: number, bytes: Buffer): Promise<void> {
    const isPending = new Promise<number>((resolve) => (this.#completed = resolve));
    const result = this.#session.read(offset, length, bytes, 0, 0);
    const error = result < 0 ? await isPending : result;
    if (error !== 0) throw new JnbdError('read_failed', this.#session.errorText);
  }

  close(): void {
    this.#session.close();
  }
}
