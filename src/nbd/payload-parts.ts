import type { ExportSession } from '../group/apply/export.ts';
import { blockBytes, slabBytes, slabHeadroomBytes } from '../platform/limits.ts';
import { movedBytesMax, type ReceiveWindow } from './receive-window.ts';
import type { RequestIdentity } from './reply-codec.ts';
import { type Refusal, refusalErrno, refusalText } from './request-check.ts';
import { parked, type RunStamper } from './run-stamper.ts';
import { NBD_CMD_WRITE } from './wire.ts';

/** What a silent client has sent of a payload is journaled from this much on, and kept below. */
const spilledBytesMin = 8192;

/** A WRITE whose payload is taken in parts, or a payload that is read over. */
export interface Payload extends RequestIdentity {
  readonly type: number;
  readonly flags: number;
  readonly length: number;
  /** Where the rest of it goes. */
  offset: number;
  remaining: number;
  /** The update number of the newest part. */
  number: number;
  /** The first thing that went wrong: the rest is read over. */
  error: number;
  text: string;
}

/** `more` bytes are needed; `moving`: in the next slab; `parked`: not now; `complete`. */
export type PayloadProgress = 'more' | 'moving' | 'parked' | 'complete';

/**
 * Payloads that do not fit the slab they begin in. Each part ends at a block of the volume and is a
 * record of its own; the rest begins the next slab, with its header in the headroom. So a payload of
 * any size needs one slab at a time and is never put together. After a crash the parts that were
 * journaled stand, as those of any unanswered write may.
 */
export class PayloadParts {
  readonly #session: ExportSession;
  readonly #window: ReceiveWindow;
  readonly #stamper: RunStamper;
  #current: Payload | undefined;
  #isPartInRun = false;

  constructor(session: ExportSession, window: ReceiveWindow, stamper: RunStamper) {
    this.#session = session;
    this.#window = window;
    this.#stamper = stamper;
  }

  get current(): Payload | undefined {
    return this.#current;
  }

  /** The payload was answered for. */
  end(): void {
    this.#current = undefined;
    this.#window.nextLimit = slabBytes;
    this.#window.wanted = this.#stamper.headerBytes;
  }

  /** The run was handed to the journal, with this result. */
  runCommitted(error: number): void {
    const payload = this.#current;
    if (this.#isPartInRun && error !== 0 && payload) {
      payload.error = error;
      payload.text = this.#session.errorText;
    }
    this.#isPartInRun = false;
  }

  /** A WRITE at `window.start` that was found good, reaches beyond the slab, and is not all there. */
  beginWrite(payload: Payload): PayloadProgress {
    const window = this.#window;
    const { headerBytes } = this.#stamper;
    const { start } = window;
    if (slabBytes - start <= movedBytesMax) {
      // Little of it is here: it moves as a whole before anything of it is journaled.
      this.#aim(headerBytes, payload);
      return 'moving';
    }
    const part = bytesToCut(payload.offset, slabBytes - start - headerBytes);
    if (window.available < headerBytes + part) {
      window.wanted = headerBytes + part;
      window.limit = start + window.wanted;
      return 'more';
    }
    return this.#beginPart(payload, part);
  }

  /** Reads over a payload whose request is refused; then it is `complete`. */
  beginRefused(
    type: number,
    code: Refusal,
    length: number,
    identity: RequestIdentity,
  ): PayloadProgress {
    this.#window.start += this.#stamper.headerBytes;
    this.#current = {
      ...identity,
      type,
      flags: 0,
      length: 0,
      offset: 0,
      remaining: length,
      number: 0,
      error: refusalErrno(code),
      text: refusalText(code),
    };
    return this.#skip(this.#current);
  }

  /** Goes on with the current payload. */
  advance(payload: Payload): PayloadProgress {
    if (payload.error !== 0 || payload.remaining === 0) return this.#skip(payload);
    const window = this.#window;
    const { start } = window;
    const room = slabBytes - start;
    const part = payload.remaining <= room ? payload.remaining : bytesToCut(payload.offset, room);
    if (window.available < part) {
      window.wanted = part;
      if (part < payload.remaining) window.limit = start + part;
      return 'more';
    }
    if (!this.#stamp(payload, start - this.#stamper.headerBytes, part)) return 'parked';
    return this.#settle(payload);
  }

  /**
   * Makes what is there of an incomplete request small enough to be kept beside the slab, by
   * journaling what is there of a payload. `write` is the WRITE at `window.start`, if that is what
   * stands there. False: not possible now.
   */
  spill(write: Payload | undefined): boolean {
    const window = this.#window;
    const payload = this.#current;
    if (payload) {
      if (payload.error !== 0 || window.available < spilledBytesMin) return true;
      const headerStart = window.start - this.#stamper.headerBytes;
      if (!this.#stamp(payload, headerStart, bytesToCut(payload.offset, window.available))) {
        return false;
      }
      this.#settle(payload);
      this.runCommitted(this.#stamper.commit());
      return true;
    }
    const there = window.available - this.#stamper.headerBytes;
    if (!write || there < spilledBytesMin) return true;
    if (this.#beginPart(write, bytesToCut(write.offset, there)) === 'parked') return false;
    this.runCommitted(this.#stamper.commit());
    return true;
  }

  #beginPart(payload: Payload, part: number): PayloadProgress {
    const window = this.#window;
    const { start } = window;
    window.start += this.#stamper.headerBytes;
    if (!this.#stamp(payload, start, part)) {
      window.start = start;
      return 'parked';
    }
    this.#current = payload;
    return this.#settle(payload);
  }

  /** Stamps and consumes `part` bytes at `window.start`. */
  #stamp(payload: Payload, headerStart: number, part: number): boolean {
    const window = this.#window;
    const number = this.#stamper.write(window.held, headerStart, payload.offset, part);
    if (number === parked) return false;
    if (number > 0) {
      payload.number = number;
      this.#isPartInRun = true;
    } else {
      payload.error = -number;
      payload.text = this.#session.errorText;
    }
    window.start += part;
    payload.offset += part;
    payload.remaining -= part;
    return true;
  }

  #settle(payload: Payload): PayloadProgress {
    if (payload.remaining === 0) return 'complete';
    if (payload.error !== 0) return this.#skip(payload);
    this.#aim(0, payload);
    return 'moving';
  }

  /** What is left, behind `headerBytes`, goes on at the beginning of a slab. */
  #aim(headerBytes: number, payload: Payload): void {
    const window = this.#window;
    const room = slabBytes - slabHeadroomBytes - headerBytes;
    const isCut = payload.remaining > room;
    const part = isCut ? bytesToCut(payload.offset, room) : payload.remaining;
    window.wanted = headerBytes + part;
    window.nextLimit = isCut ? slabHeadroomBytes + window.wanted : slabBytes;
    window.mustMove = true;
  }

  #skip(payload: Payload): PayloadProgress {
    const window = this.#window;
    const count = Math.min(window.available, payload.remaining);
    window.start += count;
    payload.remaining -= count;
    if (payload.remaining === 0) return 'complete';
    window.wanted = Math.min(payload.remaining, blockBytes);
    window.limit = window.nextLimit = slabBytes;
    return 'more';
  }
}

/** How much of `available` payload bytes for `offset` ends at a block of the volume. */
function bytesToCut(offset: number, available: number): number {
  return Math.floor((offset + available) / blockBytes) * blockBytes - offset;
}

export function writePayload(
  flags: number,
  offset: number,
  length: number,
  identity: RequestIdentity,
): Payload {
  return {
    ...identity,
    type: NBD_CMD_WRITE,
    flags,
    length,
    offset,
    remaining: length,
    number: 0,
    error: 0,
    text: '',
  };
}
