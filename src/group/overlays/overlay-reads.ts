import type { PrivateStore } from '../../history/private-store.ts';
import { messageOf, systemErrorCode } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { ReadOwner } from '../../volume/volume-read.ts';
import { errno, type Errno, type ExportSession, readPending } from '../apply/export.ts';

type Completed = (token: number, error: Errno, text: string) => void;

/**
 * Reads of a volume that stands over another: blocks that the store has from there, the others from underneath. What
 * is written while a read is under way may be in it or not, as on any disk.
 */
export class OverlayReads implements ReadOwner {
  readonly #store: PrivateStore;
  readonly #underlying: () => ExportSession | undefined;
  readonly #completed: Completed;
  /** By the token that store, or what is underneath, was given. */
  readonly #parts = new Map<number, (error: Errno, text: string) => void>();
  #token = 0;
  #underneath = 0;
  errorText = '';

  /** `completed`: a read that was `readPending` is done. */
  constructor(
    store: PrivateStore,
    underlying: () => ExportSession | undefined,
    completed: Completed,
  ) {
    this.#store = store;
    this.#underlying = underlying;
    this.#completed = completed;
  }

  get isReadingUnderneath(): boolean {
    return this.#underneath > 0;
  }

  /** As `ExportSession.read`; `errorText` has the sentence. */
  begin(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    const end = offset + length;
    const endBlock = Math.ceil(end / blockBytes);
    let waiting = 0;
    let failure: Errno = errno.none;
    let text = '';
    const partEnded = (error: Errno, why: string): void => {
      if (failure === errno.none && error !== errno.none) [failure, text] = [error, why];
      waiting -= 1;
      if (waiting === 0) this.#completed(token, failure, text);
    };
    for (let at = offset; at < end && failure === errno.none; ) {
      const block = Math.floor(at / blockBytes);
      const isHere = this.#store.has(block);
      const stop = Math.min(end, this.#store.next(!isHere, block, endBlock) * blockBytes);
      const part = this.#own(partEnded);
      const result = this.#part(isHere, at, stop - at, bytes, start + at - offset, part);
      if (result === readPending) waiting += 1;
      else this.#parts.delete(part);
      if (result > 0) [failure, text] = [result as Errno, this.errorText];
      at = stop;
    }
    this.errorText = text;
    // Parts under way still write to the caller's bytes.
    return waiting > 0 ? readPending : failure;
  }

  /** A token for a read underneath. */
  #own(ended: (error: Errno, text: string) => void): number {
    this.#token += 1;
    this.#parts.set(this.#token, ended);
    return this.#token;
  }

  /** Of the store. */
  readCompleted(token: number, failure: Error | null): void {
    this.#ended(token, failure ? errno.EIO : errno.none, failure ? messageOf(failure) : '');
  }

  underlyingCompleted(token: number, error: number): void {
    this.#underneath -= 1;
    this.#ended(token, error as Errno, error === 0 ? '' : (this.#underlying()?.errorText ?? ''));
  }

  #ended(token: number, error: Errno, text: string): void {
    const ended = this.#parts.get(token);
    this.#parts.delete(token);
    ended?.(error, text);
  }

  /** What is underneath, whatever the store has; as `ExportSession.read`, and `ended` where it is pending. */
  readUnderneath(
    offset: number,
    length: number,
    bytes: Buffer,
    ended: (error: Errno, text: string) => void,
  ): number {
    const token = this.#own(ended);
    const result = this.#part(false, offset, length, bytes, 0, token);
    if (result !== readPending) this.#parts.delete(token);
    return result;
  }

  #part(
    isHere: boolean,
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    token: number,
  ): number {
    if (!isHere) {
      const under = this.#underlying();
      this.errorText = 'what it stands over is gone';
      if (!under) return errno.EIO;
      const result = under.read(offset, length, bytes, start, token);
      if (result > 0) this.errorText = under.errorText;
      if (result === readPending) this.#underneath += 1;
      return result;
    }
    try {
      return this.#store.read(offset, length, bytes, start, this, token) === 'done'
        ? 0
        : readPending;
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      this.errorText = messageOf(error);
      return errno.EIO;
    }
  }
}
