import type { ExportSession } from '../group/apply/export.ts';
import { WaitingReplies } from './waiting-replies.ts';
import type { ReadAnswers } from './read-answers.ts';
import type { RequestIdentity } from './reply-codec.ts';
import { answerBytesMax, type ReplyWriter } from './reply-writer.ts';
import { batchKind, type RequestBatch } from './request-batch.ts';
import type { RequestMetrics } from './request-metrics.ts';
import { answerBlockStatus } from './status-answers.ts';
import { NBD_CMD_FLAG_DF, NBD_CMD_FLAG_FUA } from './wire.ts';

/** Of the entry that is being answered; only ever used within one call. */
const identity: RequestIdentity = { cookieHigh: 0, cookieLow: 0, offsetHigh: 0, offsetLow: 0 };

/**
 * Answers batches whose run was committed. FLUSH, and updates that came with FUA, wait in a queue until
 * what they wait for is answerable; while followers are waited for, so does every update (invariant 4).
 */
export class BatchAnswers {
  readonly #session: ExportSession;
  readonly #writer: ReplyWriter;
  readonly #reads: ReadAnswers;
  readonly #metrics: RequestMetrics;
  readonly #waiting = new WaitingReplies();
  /** Updates from this number on will never be answerable. */
  #failure: { readonly from: number; readonly error: number; readonly text: string } | undefined;

  constructor(
    session: ExportSession,
    writer: ReplyWriter,
    reads: ReadAnswers,
    metrics: RequestMetrics,
  ) {
    this.#session = session;
    this.#writer = writer;
    this.#reads = reads;
    this.#metrics = metrics;
  }

  get waiting(): number {
    return this.#waiting.count;
  }

  /** So many wait that no more is parsed. */
  get isFull(): boolean {
    return this.#waiting.isFull;
  }

  close(): void {
    this.#waiting.clear();
  }

  /** `commitError` goes for every update of the batch. */
  answer(batch: RequestBatch, commitError: number): void {
    const waitingBefore = this.#waiting.count;
    const { count } = batch;
    const { plainThrough } = this.#session;
    for (let index = 0; index < count; index++) {
      identity.cookieHigh = batch.cookieHighs[index] ?? 0;
      identity.cookieLow = batch.cookieLows[index] ?? 0;
      identity.offsetHigh = batch.offsetHighs[index] ?? 0;
      identity.offsetLow = batch.offsetLows[index] ?? 0;
      switch (batch.kinds[index]) {
        case batchKind.update:
          this.#answerUpdate(batch, index, commitError, plainThrough);
          break;
        case batchKind.read: {
          const isFragmented = ((batch.flags[index] ?? 0) & NBD_CMD_FLAG_DF) === 0;
          const offset = batch.offsets[index] ?? 0;
          const length = batch.lengths[index] ?? 0;
          this.#reads.answerWhole(identity, offset, length, isFragmented, batch.startedAt);
          break;
        }
        case batchKind.flush:
          // What this batch wrote is covered too, which is more than is asked for.
          this.#succeedWhenAnswerable(batch, index, this.#session.newest);
          break;
        case batchKind.blockStatus:
          this.#answerStatus(batch, index);
          break;
        default:
          this.#answerKnown(batch, index);
      }
    }
    if (this.#waiting.count > waitingBefore) {
      this.#session.requestDurable(this.#waiting.lastNumber);
      this.#writeAnswerable();
    }
  }

  /** Writes what became answerable, or never will, as far as the open buffer has room. */
  writeWaiting(): void {
    this.#writeAnswerable();
    this.#writeFailed();
  }

  /** Whether `writeWaiting` has something to write. */
  get hasAnswers(): boolean {
    const waiting = this.#waiting;
    if (waiting.count === 0) this.#failure = undefined;
    if (waiting.count === 0) return false;
    return this.#failure !== undefined || waiting.firstNumber <= this.#session.answerable;
  }

  /** Updates from `from` on will never be answerable. */
  failFrom(from: number, error: number, text: string): void {
    this.#failure = { from: Math.min(from, this.#failure?.from ?? from), error, text };
  }

  #answerUpdate(
    batch: RequestBatch,
    index: number,
    commitError: number,
    plainThrough: number,
  ): void {
    const number = batch.numbers[index] ?? 0;
    const error = commitError === 0 ? (batch.errors[index] ?? 0) : commitError;
    if (error !== 0) {
      const text = commitError === 0 ? batch.texts[index] : undefined;
      this.#fail(batch, index, error, text ?? this.#session.errorText);
    } else if (number > plainThrough || ((batch.flags[index] ?? 0) & NBD_CMD_FLAG_FUA) !== 0) {
      this.#succeedWhenAnswerable(batch, index, number);
    } else this.#succeed(batch, index);
  }

  #answerStatus(batch: RequestBatch, index: number): void {
    const session = this.#session;
    const flags = batch.flags[index] ?? 0;
    const offset = batch.offsets[index] ?? 0;
    const length = batch.lengths[index] ?? 0;
    const error = answerBlockStatus(session, this.#writer, identity, flags, offset, length);
    if (error !== 0) this.#fail(batch, index, error, session.errorText);
    else this.#metrics.count(batch.types[index] ?? 0, length, false, batch.startedAt);
  }

  #answerKnown(batch: RequestBatch, index: number): void {
    const error = batch.errors[index] ?? 0;
    if (error !== 0) this.#fail(batch, index, error, batch.texts[index] ?? '');
    else this.#succeed(batch, index);
  }

  #succeedWhenAnswerable(batch: RequestBatch, index: number, number: number): void {
    if (number <= this.#session.answerable) {
      this.#succeed(batch, index);
      return;
    }
    const type = batch.types[index] ?? 0;
    this.#waiting.push(number, type, batch.lengths[index] ?? 0, batch.startedAt, identity);
  }

  #succeed(batch: RequestBatch, index: number): void {
    this.#writer.success(identity);
    const length = batch.lengths[index] ?? 0;
    this.#metrics.count(batch.types[index] ?? 0, length, false, batch.startedAt);
  }

  #fail(batch: RequestBatch, index: number, error: number, text: string): void {
    this.#writer.failure(identity, error, text);
    this.#metrics.count(batch.types[index] ?? 0, 0, true, batch.startedAt);
  }

  #writeAnswerable(): void {
    const waiting = this.#waiting;
    // What failed is not answered otherwise when the gate opens after all.
    const failedFrom = this.#failure?.from ?? Number.POSITIVE_INFINITY;
    const reached = Math.min(this.#session.answerable, failedFrom - 1);
    while (waiting.count > 0 && waiting.firstNumber <= reached) {
      if (this.#writer.room < answerBytesMax) return;
      waiting.shift();
      const { taken } = waiting;
      this.#writer.success(taken);
      this.#metrics.count(taken.type, taken.length, false, taken.startedAt);
    }
  }

  #writeFailed(): void {
    const failure = this.#failure;
    if (!failure) return;
    while (this.#writer.room >= answerBytesMax) {
      if (!this.#waiting.popFrom(failure.from)) {
        this.#failure = undefined;
        return;
      }
      const { taken } = this.#waiting;
      this.#writer.failure(taken, failure.error, failure.text);
      this.#metrics.count(taken.type, 0, true, taken.startedAt);
    }
  }
}
