import type { ExportSession } from '../group/apply/export.ts';
import { DurableQueue } from './durable-queue.ts';
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
 * Answers batches whose run was committed. FLUSH, and updates that came with FUA, wait in a queue
 * until what they wait for is durable (invariant 4).
 */
export class BatchAnswers {
  readonly #session: ExportSession;
  readonly #writer: ReplyWriter;
  readonly #reads: ReadAnswers;
  readonly #metrics: RequestMetrics;
  readonly #durable = new DurableQueue();
  /** Updates from this number on will never be durable. */
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
    return this.#durable.count;
  }

  /** So many wait that no more is parsed. */
  get isFull(): boolean {
    return this.#durable.isFull;
  }

  close(): void {
    this.#durable.clear();
  }

  /** `commitError` goes for every update of the batch. */
  answer(batch: RequestBatch, commitError: number): void {
    const waitingBefore = this.#durable.count;
    const { count } = batch;
    for (let index = 0; index < count; index++) {
      identity.cookieHigh = batch.cookieHighs[index] ?? 0;
      identity.cookieLow = batch.cookieLows[index] ?? 0;
      identity.offsetHigh = batch.offsetHighs[index] ?? 0;
      identity.offsetLow = batch.offsetLows[index] ?? 0;
      switch (batch.kinds[index]) {
        case batchKind.update:
          this.#answerUpdate(batch, index, commitError);
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
          this.#succeedWhenDurable(batch, index, this.#session.newest);
          break;
        case batchKind.blockStatus:
          this.#answerStatus(batch, index);
          break;
        default:
          this.#answerKnown(batch, index);
      }
    }
    if (this.#durable.count > waitingBefore) {
      this.#session.requestDurable(this.#durable.lastNumber);
      this.#writeDurable();
    }
  }

  /** Writes what became durable, or never will, as far as the open buffer has room. */
  writeWaiting(): void {
    this.#writeDurable();
    this.#writeFailed();
  }

  /** Whether `writeWaiting` has something to write. */
  get hasAnswers(): boolean {
    const durable = this.#durable;
    if (durable.count === 0) this.#failure = undefined;
    if (durable.count === 0) return false;
    return this.#failure !== undefined || durable.firstNumber <= this.#session.durable;
  }

  /** Updates from `from` on will never be durable. */
  failFrom(from: number, error: number, text: string): void {
    this.#failure = { from: Math.min(from, this.#failure?.from ?? from), error, text };
  }

  #answerUpdate(batch: RequestBatch, index: number, commitError: number): void {
    const error = commitError === 0 ? (batch.errors[index] ?? 0) : commitError;
    if (error !== 0) {
      const text = commitError === 0 ? batch.texts[index] : undefined;
      this.#fail(batch, index, error, text ?? this.#session.errorText);
    } else if (((batch.flags[index] ?? 0) & NBD_CMD_FLAG_FUA) !== 0) {
      this.#succeedWhenDurable(batch, index, batch.numbers[index] ?? 0);
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

  #succeedWhenDurable(batch: RequestBatch, index: number, number: number): void {
    if (number <= this.#session.durable) {
      this.#succeed(batch, index);
      return;
    }
    const type = batch.types[index] ?? 0;
    this.#durable.push(number, type, batch.lengths[index] ?? 0, batch.startedAt, identity);
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

  #writeDurable(): void {
    const durable = this.#durable;
    const reached = this.#session.durable;
    while (durable.count > 0 && durable.firstNumber <= reached) {
      if (this.#writer.room < answerBytesMax) return;
      durable.shift();
      const { taken } = durable;
      this.#writer.success(taken);
      this.#metrics.count(taken.type, taken.length, false, taken.startedAt);
    }
  }

  #writeFailed(): void {
    const failure = this.#failure;
    if (!failure) return;
    while (this.#writer.room >= answerBytesMax) {
      if (!this.#durable.popFrom(failure.from)) {
        this.#failure = undefined;
        return;
      }
      const { taken } = this.#durable;
      this.#writer.failure(taken, failure.error, failure.text);
      this.#metrics.count(taken.type, 0, true, taken.startedAt);
    }
  }
}
