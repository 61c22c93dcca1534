import type { ExportSession, RangeEffect } from '../group/apply/export.ts';
import type { ReceiveSlab } from '../journal/receive-slab.ts';

/** What a stamp returns, here and in a session, when nothing more is taken now. */
export const parked = 0;

/**
 * Turns request headers into record headers, and knows whether there is a run that must be committed
 * before anything else happens with this connection.
 */
export class RunStamper {
  readonly headerBytes: 28 | 32;
  readonly #session: ExportSession;
  #hasRun = false;
  /** `admit` or `admitsRead` said no: ask again when told. */
  isParked = false;

  constructor(session: ExportSession, headerBytes: 28 | 32) {
    this.#session = session;
    this.headerBytes = headerBytes;
  }

  get hasRun(): boolean {
    return this.#hasRun;
  }

  /** The update number, `parked`, or a negated error number; the payload follows the header. */
  write(slab: ReceiveSlab, headerStart: number, offset: number, length: number): number {
    if (!this.#admit(this.headerBytes + length)) return parked;
    return this.#note(
      this.#session.stampWrite(slab, headerStart, this.headerBytes, offset, length),
    );
  }

  range(
    slab: ReceiveSlab,
    headerStart: number,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number {
    if (!this.#admit(this.headerBytes)) return parked;
    return this.#note(
      this.#session.stampRange(slab, headerStart, this.headerBytes, effect, offset, length),
    );
  }

  /** Keeps the run going over a header that changes nothing. */
  pad(slab: ReceiveSlab, headerStart: number): void {
    if (this.#hasRun) this.#session.stampPad(slab, headerStart, this.headerBytes);
  }

  /** Hands the run to the journal. Returns 0, or the error number for all of it. */
  commit(): number {
    if (!this.#hasRun) return 0;
    this.#hasRun = false;
    return this.#session.commitRun();
  }

  /** Whether what is there may be shown: else it is parked. */
  admitsRead(offset: number, length: number): boolean {
    if (this.#session.admitsRead(offset, length)) return true;
    this.isParked = true;
    return false;
  }

  #admit(bytes: number): boolean {
    if (this.#session.admit(bytes)) return true;
    this.isParked = true;
    return false;
  }

  #note(number: number): number {
    if (number > 0) this.#hasRun = true;
    else if (number === parked) this.isParked = true;
    return number;
  }
}
