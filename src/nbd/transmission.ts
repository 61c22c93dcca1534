import type { ExportSession } from '../group/export.ts';
import type { ReceiveSlab, ReceiveSlabPool } from '../journal/receive-slab.ts';
import { assert } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import { KiB, MiB } from '../platform/limits.ts';
import type { Connection } from '../platform/network.ts';
import { DurableQueue } from './durable-queue.ts';
import type { ReplyForm } from './negotiation.ts';
import { ReadAnswers } from './read-answers.ts';
import type { ReplyBufferPool } from './reply-buffers.ts';
import type { RequestIdentity } from './reply-codec.ts';
import { answerBytesMax, ReplyWriter } from './reply-writer.ts';
import { batchKind, RequestBatch } from './request-batch.ts';
import { RequestMetrics } from './request-metrics.ts';
import { RequestParser } from './request-parser.ts';
import { ReceiveWindow, restBytesMax } from './receive-window.ts';
import { answerBlockStatus } from './status-answers.ts';
import {
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FUA,
  extendedRequestHeaderBytes,
  requestHeaderBytes,
} from './wire.ts';

export interface TransmissionDeps {
  readonly clock: Clock;
  readonly slabs: ReceiveSlabPool;
  readonly replies: ReplyBufferPool;
}

export interface TransmissionTerms {
  readonly replyForm: ReplyForm;
  readonly hasAllocation: boolean;
}

/** A client that sends less than this between two sweeps gives its slab back. */
const quietBytesMax = 64 * KiB;
/** After this much in replies the other connections get their turn. */
const turnBytesMax = 2 * MiB;

const batch = new RequestBatch();
const identity: RequestIdentity = { cookieHigh: 0, cookieLow: 0, offsetHigh: 0, offsetLow: 0 };

/**
 * The transmission phase of one connection. Whatever happens (bytes, durability, a drained socket, a
 * finished read, memory that came free) ends in `#run`, which goes as far as it can:
 *
 * answer what became durable; parse a batch and stamp its writes in place; hand their run to the
 * journal; then answer, in one send. A crash before the run is journaled leaves requests unanswered; a
 * crash behind it leaves records whose answers may or may not have gone out: both are legal.
 */
export class Transmission {
  readonly session: ExportSession;
  readonly #deps: TransmissionDeps;
  readonly #connection: Connection;
  readonly #onFinished: () => void;
  readonly #onBroken: () => void;
  readonly #writer: ReplyWriter;
  readonly #window: ReceiveWindow;
  readonly #parser: RequestParser;
  readonly #durable = new DurableQueue();
  readonly #reads: ReadAnswers;
  readonly #metrics: RequestMetrics;
  readonly #retire = (slab: ReceiveSlab): void => this.session.retire(slab);
  readonly #wake = (): void => {
    this.#isWakeDue = false;
    this.#run();
  };
  readonly #note = (): void => {
    this.#isWaitingForMemory = false;
    this.#wakeSoon();
  };
  #isWakeDue = false;
  #isWaitingForMemory = false;
  #isRunning = false;
  #isPaused = false;
  #isEnded = false;
  #isFinished = false;
  #isClosed = false;
  #turnBytes = 0;
  #sweptBytes = 0;
  /** Updates from this number on will never be durable. */
  #failure: { readonly from: number; readonly error: number; readonly text: string } | undefined;

  constructor(
    deps: TransmissionDeps,
    connection: Connection,
    session: ExportSession,
    terms: TransmissionTerms,
    onFinished: () => void,
    onBroken: () => void,
  ) {
    this.#deps = deps;
    this.#connection = connection;
    this.session = session;
    this.#onFinished = onFinished;
    this.#onBroken = onBroken;
    const isExtended = terms.replyForm === 'extended';
    const headerBytes = isExtended ? extendedRequestHeaderBytes : requestHeaderBytes;
    this.#writer = new ReplyWriter(connection, deps.replies, terms.replyForm);
    this.#window = new ReceiveWindow(deps.slabs, headerBytes);
    this.#metrics = new RequestMetrics(deps.clock, session.metrics);
    this.#reads = new ReadAnswers(session, this.#writer, this.#metrics);
    this.#parser = new RequestParser(session, this.#window, batch, {
      isStructured: terms.replyForm !== 'simple',
      isExtended,
      hasAllocation: terms.hasAllocation,
      readOnly: session.readOnly,
    });
  }

  receiveBuffer(): Uint8Array {
    return this.#window.receiveBuffer();
  }

  received(count: number): void {
    if (this.#isFinished) return;
    this.#sweptBytes += count;
    this.#window.received(count);
    this.#run();
  }

  /** What came behind the handshake's last option. */
  begin(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#window.append(bytes);
    this.#run();
  }

  /** The client sends nothing more: what it asked is answered, then the connection ends. */
  ended(): void {
    this.#isEnded = true;
    this.#run();
  }

  drained(): void {
    this.#writer.drained();
    this.#run();
  }

  /** The session may go on: `admit` is worth asking again. */
  admitted(): void {
    this.#run();
  }

  durableReached(): void {
    if (this.#durable.count > 0) this.#run();
  }

  durableFailed(from: number, error: number, text: string): void {
    const earlier = this.#failure;
    this.#failure = { from: Math.min(from, earlier?.from ?? from), error, text };
    this.#run();
  }

  readCompleted(token: number, error: number): void {
    this.#reads.completed(token, error);
    this.#metrics.flush();
    if (this.#isClosed) this.#closeSession();
    else this.#run();
  }

  /** New requests are refused; what is in flight is answered, then the connection ends. */
  shutDown(): void {
    this.#parser.refuseAll();
    this.#isEnded = true;
    this.#run();
  }

  /** Called every second or so: gives back what a silent client keeps from others. */
  sweep(): void {
    const isQuiet = this.#sweptBytes < quietBytesMax;
    this.#sweptBytes = 0;
    if (!isQuiet || !this.#window.slab || this.#isClosed || this.#isFinished) return;
    // Only what waits for more bytes; everything else moves by itself.
    if (this.#parser.isParked || this.#window.available >= this.#window.wanted) return;
    this.#window.calmDown();
    if (this.#window.isArmed && !this.#connection.renewReceiveBuffer()) return;
    if (!this.#parser.spill()) return;
    this.#window.leaveSlab(this.#retire);
  }

  /** The connection is gone. */
  closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isFinished = true;
    this.#durable.clear();
    this.#writer.close();
    this.#reads.close();
    this.#leaveWindow();
    this.#closeSession();
  }

  #leaveWindow(): void {
    const slab = this.#window.close();
    if (slab) this.session.retire(slab);
  }

  /** Reads that the disk still works on belong to the session. */
  #closeSession(): void {
    if (this.#reads.outstanding === 0) this.session.close();
  }

  #wakeSoon(): void {
    if (this.#isWakeDue || this.#isClosed) return;
    this.#isWakeDue = true;
    this.#deps.clock.soon(this.#wake);
  }

  #waitForReplyMemory(): void {
    if (this.#isWaitingForMemory) return;
    // What this connection holds itself comes back by `drained` or `readCompleted`.
    this.#isWaitingForMemory = true;
    this.#deps.replies.whenFree(this.#note);
  }

  #waitForSlab(): void {
    if (this.#isWaitingForMemory) return;
    this.#isWaitingForMemory = true;
    this.#deps.slabs.whenFree(this.#note);
  }

  #run(): void {
    if (this.#isFinished || this.#isClosed) return;
    assert(!this.#isRunning, 'the transmission is not entered from within');
    this.#isRunning = true;
    this.#turnBytes = 0;
    const isBlocked = this.#advance();
    this.#metrics.flush();
    this.#isRunning = false;
    if (this.#isClosed) return;
    if (this.#mayFinish(isBlocked)) this.#finish();
    else this.#regulate();
  }

  /** Receives no more than there is room for. */
  #regulate(): void {
    const window = this.#window;
    const isFull = window.restBytes >= restBytesMax || (window.restBytes > 0 && window.needsSlab);
    if (isFull === this.#isPaused) return;
    this.#isPaused = isFull;
    if (isFull) this.#connection.pause();
    else this.#connection.resume();
  }

  #mayFinish(isBlocked: boolean): boolean {
    if (!this.#isEnded && !this.#parser.isOver) return false;
    return !isBlocked && this.#durable.count === 0 && this.#reads.isIdle;
  }

  #finish(): void {
    this.#isFinished = true;
    this.#onFinished();
    this.#leaveWindow();
  }

  /** Goes as far as possible; true when something that will wake it stands in the way. */
  #advance(): boolean {
    for (;;) {
      if (this.#reads.isStreaming && !this.#pumpStream()) return true;
      if (!this.#answerDurable()) return true;
      if (this.#parser.isOver) return false;
      if (this.#turnBytes >= turnBytesMax) {
        this.#wakeSoon();
        return true;
      }
      if (this.#durable.isFull) return true;
      const window = this.#window;
      if (window.available < window.wanted && !this.#parser.isParked) {
        // Nothing to parse: no reply buffer needs to be held.
        if (window.settle(this.session.durable, this.#retire)) continue;
        if (!window.needsSlab) return false;
        this.#waitForSlab();
        return true;
      }
      if (!this.#batch()) return true;
    }
  }

  /** One batch: parse, journal, answer. False when it cannot go on now. */
  #batch(): boolean {
    const writer = this.#writer;
    if (!writer.open()) {
      this.#waitForReplyMemory();
      return false;
    }
    const window = this.#window;
    batch.clear();
    this.#parser.parse(writer.room, this.#deps.clock);
    const error = this.#parser.hasRun ? this.session.commitRun() : 0;
    this.#parser.runCommitted(error);
    if (batch.count > 0) this.#answerBatch(error);
    this.#turnBytes += writer.at;
    writer.flush();
    const stream = this.#parser.takeStream();
    if (stream)
      this.#reads.beginStream(stream.request, stream.offset, stream.length, batch.startedAt);
    if (this.#parser.isParked) return false;
    window.settle(this.session.durable, this.#retire);
    return true;
  }

  #answerBatch(commitError: number): void {
    const { session } = this;
    const durable = this.#durable;
    const before = durable.count;
    const { count, startedAt } = batch;
    for (let index = 0; index < count; index++) {
      identity.cookieHigh = batch.cookieHighs[index] ?? 0;
      identity.cookieLow = batch.cookieLows[index] ?? 0;
      identity.offsetHigh = batch.offsetHighs[index] ?? 0;
      identity.offsetLow = batch.offsetLows[index] ?? 0;
      const length = batch.lengths[index] ?? 0;
      const type = batch.types[index] ?? 0;
      const flags = batch.flags[index] ?? 0;
      switch (batch.kinds[index]) {
        case batchKind.update: {
          const number = batch.numbers[index] ?? 0;
          const error = commitError === 0 ? batch.errors[index] : commitError;
          if (error) {
            const text = commitError === 0 ? batch.texts[index] : session.errorText;
            this.#fail(type, error, text ?? session.errorText, startedAt);
          } else if ((flags & NBD_CMD_FLAG_FUA) !== 0 && number > session.durable) {
            durable.push(number, type, length, startedAt, identity);
          } else {
            this.#writer.success(identity);
            this.#metrics.count(type, length, false, startedAt);
          }
          break;
        }
        case batchKind.read: {
          const isWhole = (flags & NBD_CMD_FLAG_DF) !== 0;
          const offset = batch.offsets[index] ?? 0;
          this.#reads.answerWhole(identity, offset, length, isWhole, startedAt);
          break;
        }
        case batchKind.flush:
          if (session.newest > session.durable) {
            durable.push(session.newest, type, 0, startedAt, identity);
          } else {
            this.#writer.success(identity);
            this.#metrics.count(type, 0, false, startedAt);
          }
          break;
        case batchKind.blockStatus: {
          const offset = batch.offsets[index] ?? 0;
          const error = answerBlockStatus(session, this.#writer, identity, flags, offset, length);
          if (error !== 0) this.#fail(type, error, session.errorText, startedAt);
          else this.#metrics.count(type, length, false, startedAt);
          break;
        }
        default: {
          const error = batch.errors[index] ?? 0;
          if (error !== 0) this.#fail(type, error, batch.texts[index] ?? '', startedAt);
          else {
            this.#writer.success(identity);
            this.#metrics.count(type, length, false, startedAt);
          }
        }
      }
    }
    if (durable.count > before) {
      session.requestDurable(durable.lastNumber);
      this.#writeDurable();
    }
  }

  #fail(type: number, error: number, text: string, startedAt: number): void {
    this.#writer.failure(identity, error, text);
    this.#metrics.count(type, 0, true, startedAt);
  }

  /** Answers what waited and is durable. False when there is no memory for that. */
  #answerDurable(): boolean {
    const durable = this.#durable;
    if (this.#reads.isInsideReply) return true;
    while (durable.count > 0) {
      if (durable.firstNumber > this.session.durable && !this.#failure) return true;
      if (!this.#writer.open()) {
        this.#waitForReplyMemory();
        return false;
      }
      this.#writeDurable();
      this.#writeFailed();
      this.#writer.flush();
    }
    this.#failure = undefined;
    return true;
  }

  #writeFailed(): void {
    const failure = this.#failure;
    if (!failure) return;
    const durable = this.#durable;
    while (this.#writer.room >= answerBytesMax) {
      if (!durable.popFrom(failure.from)) {
        this.#failure = undefined;
        return;
      }
      const { taken } = durable;
      this.#writer.failure(taken, failure.error, failure.text);
      this.#metrics.count(taken.type, 0, true, taken.startedAt);
    }
  }

  #writeDurable(): void {
    const durable = this.#durable;
    const reached = this.session.durable;
    while (durable.count > 0 && durable.firstNumber <= reached) {
      if (this.#writer.room < answerBytesMax) return;
      durable.shift();
      const { taken } = durable;
      this.#writer.success(taken);
      this.#metrics.count(taken.type, taken.length, false, taken.startedAt);
    }
  }

  /** Carries a long read on. True when it is done. */
  #pumpStream(): boolean {
    switch (this.#reads.pump(turnBytesMax)) {
      case 'done':
        this.#turnBytes += turnBytesMax / 4;
        return true;
      case 'broken':
        this.#onBroken();
        return false;
      case 'needs buffer':
        this.#waitForReplyMemory();
        return false;
      case 'yielded':
        this.#wakeSoon();
        return false;
      case 'waiting':
        return false;
    }
  }
}
