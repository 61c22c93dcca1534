import type { Writable } from 'node:stream';
import { assert } from '../platform/assert.ts';
import { KiB } from '../platform/limits.ts';
import type { Answer } from './transport.ts';
import type { WireHeaders } from './wire.ts';

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
 * Pieces are given to the stream in slices, two at a time: so one sees that a client takes something,
 * and the stream never runs dry.
 */
const sliceBytes = 256 * KiB;
const slicesMax = 2;

interface Piece {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

export class StreamAnswer implements Answer {
  readonly #stream: AnswerStream;
  readonly #now: () => number;
  readonly #pieces: Piece[] = [];
  #state: AnswerState = 'waiting';
  #isBodiless: boolean;
  /** Of the first piece: bytes given to the stream, and bytes that have left. */
  #givenBytes = 0;
  #leftBytes = 0;
  /** Pieces wholly given to the stream, and the size of each slice that has not left. */
  #givenPieces = 0;
  readonly #slices: number[] = [];
  #progressAt = 0;
  #wasBrokenOff = false;
  #wasLost = false;
  #gone: (() => void) | undefined;
  readonly #written = (error?: Error | null): void => this.#sliceLeft(error);

  /** `closed` is called once, when the answer is over in any way. */
  constructor(stream: AnswerStream, now: () => number, closed: () => void) {
    this.#stream = stream;
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
    return this.#slices.length === 0 ? 0 : now - this.#progressAt;
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

  /** The same for a client that has lost it. */
  cutOff(): void {
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
    while (this.#slices.length < slicesMax) {
      const piece = this.#pieces[this.#givenPieces];
      if (!piece) return;
      const end = Math.min(this.#givenBytes + sliceBytes, piece.bytes.length);
      const slice = piece.bytes.subarray(this.#givenBytes, end);
      this.#givenBytes = end;
      if (end === piece.bytes.length) {
        this.#givenPieces += 1;
        this.#givenBytes = 0;
      }
      if (this.#slices.length === 0) this.#progressAt = this.#now();
      this.#slices.push(slice.length);
      this.#stream.out.write(slice, this.#written);
    }
  }

  #sliceLeft(error: Error | null | undefined): void {
    // Of a stream that is closing nothing has left for sure.
    if (error || this.#state === 'closed') return;
    this.#progressAt = this.#now();
    this.#leftBytes += this.#slices.shift() ?? 0;
    const first = this.#pieces[0];
    if (first && this.#leftBytes === first.bytes.length) {
      this.#pieces.shift();
      this.#givenPieces -= 1;
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
    this.#slices.length = 0;
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
