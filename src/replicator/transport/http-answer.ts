import type { Writable } from 'node:stream';
import { assert } from '../../platform/assert.ts';
import { KiB, MiB } from '../../platform/limits.ts';
import type { Answer } from './transport.ts';
import type { WireHeaders } from '../protocol/wire.ts';

/** What an answer needs of HTTP/1.1 or HTTP/2 beside a stream to write to. */
export interface AnswerStream {
  readonly out: Writable;
  /** No answer to this request has a body. */
  readonly isHead: boolean;
  sendHead(status: number, headers: WireHeaders): void;
  /** Closes `out` so that the other side knows it for cut. */
  breakOff(): void;
  /** After `out` closed early: runs once nothing of what was written to it is referred to any more. */
  whenLeft(run: () => void): void;
}

/** `waiting`: for the head. `ending`: `end` was called, pieces are on their way. */
type AnswerState = 'waiting' | 'sending' | 'ending' | 'ended' | 'closed';

const transitions: Record<AnswerState, readonly AnswerState[]> = {
  waiting: ['sending', 'closed'],
  sending: ['ending', 'closed'],
  ending: ['ended', 'closed'],
  ended: ['closed'],
  closed: [],
};

/**
 * Pieces are given to the stream in slices, one at a time, so that one sees whether a client takes
 * something. As large as leave quickly: a whole piece where the link is fast, which costs least.
 */
const sliceBytesMin = 64 * KiB;
const sliceBytesMax = 4 * MiB;
const quickMilliseconds = 250;
const slowMilliseconds = 4_000;

/** How large slices are over one connection: its answers learn from each other. */
export class SliceSize {
  #bytes = 256 * KiB;

  get bytes(): number {
    return this.#bytes;
  }

  left(bytes: number, milliseconds: number): void {
    if (milliseconds > slowMilliseconds) this.#bytes = Math.max(sliceBytesMin, this.#bytes / 4);
    else if (milliseconds < quickMilliseconds && bytes >= this.#bytes) {
      this.#bytes = Math.min(sliceBytesMax, this.#bytes * 4);
    }
  }

  stalled(): void {
    this.#bytes = sliceBytesMin;
  }
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

export class StreamAnswer implements Answer {
  readonly #stream: AnswerStream;
  readonly #size: SliceSize;
  readonly #now: () => number;
  readonly #pieces: Piece[] = [];
  #state: AnswerState = 'waiting';
  #isBodiless: boolean;
  /** Bytes of the first piece that have left, and of the slice that is leaving. */
  #leftBytes = 0;
  #sliceBytes = 0;
  #sliceAt = 0;
  #wasBrokenOff = false;
  #wasLost = false;
  #gone: (() => void) | undefined;
  readonly #written = (error?: Error | null): void => this.#sliceLeft(error);

  /** `closed` is called once, when the answer is over in any way. */
  constructor(stream: AnswerStream, size: SliceSize, now: () => number, closed: () => void) {
    this.#stream = stream;
    this.#size = size;
    this.#now = now;
    this.#isBodiless = stream.isHead;
    const { out } = stream;
    // What goes wrong shows in `close`.
    out.on('error', () => undefined);
    out.once('close', () => {
      this.#outClosed();
      closed();
    });
  }

  /** For how long the client has taken nothing of what was sent; 0 when nothing waits for it. */
  stalledMilliseconds(now: number): number {
    return this.#sliceBytes === 0 ? 0 : now - this.#sliceAt;
  }

  head(status: number, headers: WireHeaders): void {
    if (this.#state === 'closed') return;
    this.#become('sending');
    if (status === 204 || status === 304) this.#isBodiless = true;
    this.#stream.sendHead(status, headers);
  }

  send(bytes: Uint8Array, taken: () => void): void {
    assert(this.#state !== 'waiting', 'the head of an answer is sent first');
    if (this.#state !== 'sending' || this.#isBodiless || bytes.length === 0) {
      process.nextTick(taken);
      return;
    }
    this.#pieces.push({ bytes, taken });
    this.#pump();
  }

  end(): void {
    assert(this.#state !== 'waiting', 'the head of an answer is sent first');
    if (this.#state !== 'sending') return;
    this.#become('ending');
    this.#endWhenSent();
  }

  abort(): void {
    if (this.#state === 'closed' || this.#state === 'ended') return;
    this.#wasBrokenOff = true;
    this.#stream.breakOff();
  }

  /** The same for a client that was too slow. */
  cutOff(): void {
    this.#size.stalled();
    this.#stream.breakOff();
  }

  whenGone(gone: () => void): void {
    if (this.#state !== 'closed') this.#gone = gone;
    else if (this.#wasLost) process.nextTick(gone);
  }

  #become(state: AnswerState): void {
    assert(transitions[this.#state].includes(state), `answer ${this.#state} -> ${state}`);
    this.#state = state;
  }

  #pump(): void {
    const piece = this.#pieces[0];
    if (!piece || this.#sliceBytes > 0) return;
    const { bytes } = piece;
    const end = Math.min(this.#leftBytes + this.#size.bytes, bytes.length);
    this.#sliceBytes = end - this.#leftBytes;
    this.#sliceAt = this.#now();
    this.#stream.out.write(bytes.subarray(this.#leftBytes, end), this.#written);
  }

  #sliceLeft(error: Error | null | undefined): void {
    // Of a stream that is closing nothing has left for sure.
    if (error || this.#state === 'closed') return;
    this.#size.left(this.#sliceBytes, this.#now() - this.#sliceAt);
    this.#leftBytes += this.#sliceBytes;
    this.#sliceBytes = 0;
    const first = this.#pieces[0];
    if (first && this.#leftBytes === first.bytes.length) {
      this.#pieces.shift();
      this.#leftBytes = 0;
      first.taken();
    }
    this.#pump();
    this.#endWhenSent();
  }

  #endWhenSent(): void {
    if (this.#state !== 'ending' || this.#pieces.length > 0) return;
    this.#become('ended');
    if (!this.#stream.out.writableEnded) this.#stream.out.end();
  }

  #outClosed(): void {
    this.#wasLost = this.#state !== 'ended' && !this.#wasBrokenOff;
    this.#become('closed');
    this.#sliceBytes = 0;
    const pieces = this.#pieces.splice(0);
    if (pieces.length > 0) {
      this.#stream.whenLeft(() => {
        for (const { taken } of pieces) taken();
      });
    }
    if (this.#wasLost) this.#gone?.();
    this.#gone = undefined;
  }
}
