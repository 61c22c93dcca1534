import type { ExportSession } from '../group/apply/export.ts';
import type { ReceiveSlab } from '../journal/receive-slab.ts';
import { assert } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import { KiB, MiB } from '../platform/limits.ts';
import type { Connection } from '../platform/network.ts';
import { BatchAnswers } from './batch-answers.ts';
import type { ReplyForm } from './negotiation.ts';
import { ReadAnswers } from './read-answers.ts';
import type { ReplyBufferPool } from './reply-buffers.ts';
import { ReplyWriter } from './reply-writer.ts';
import { RequestBatch } from './request-batch.ts';
import { RequestMetrics } from './request-metrics.ts';
import { RequestParser } from './request-parser.ts';
import { ReceiveWindow, restBytesMax } from './receive-window.ts';
import { extendedRequestHeaderBytes, requestHeaderBytes } from './wire.ts';

export interface TransmissionDeps {
  readonly clock: Clock;
  readonly replies: ReplyBufferPool;
  /** Somebody waits for a slab or a reply buffer: whoever holds one without use is to give it back. */
  readonly pressed: () => void;
}

export interface TransmissionTerms {
  readonly replyForm: ReplyForm;
  readonly hasAllocation: boolean;
}

/** A client that sends less than this between two sweeps gives its slab back. */
const quietBytesMax = 64 * KiB;
/** Who sends nothing more may wait for answers through so many sweeps, which are a second apart. */
const sweepsSinceEndMax = 60;
/** After this much in replies the other connections get their turn. */
const turnBytesMax = 2 * MiB;

const batch = new RequestBatch();

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
  readonly #reads: ReadAnswers;
  readonly #answers: BatchAnswers;
  readonly #metrics: RequestMetrics;
  readonly #retire = (slab: ReceiveSlab): void => this.session.retire(slab);
  readonly #wake = (): void => {
    this.#isWakeDue = false;
    this.#run();
  };
  /** Memory came free; the news goes on to the next who waits, used or not. */
  readonly #relieved = (): void => {
    this.#run();
    this.#deps.replies.passOn();
    this.session.slabs.passOn();
  };
  readonly #note = (): void => {
    this.#isWaitingForMemory = false;
    this.#deps.clock.soon(this.#relieved);
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
  #sweepsSinceEnd = 0;

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
    this.#window = new ReceiveWindow(session.slabs, headerBytes);
    this.#metrics = new RequestMetrics(deps.clock, session.metrics);
    this.#reads = new ReadAnswers(session, this.#writer, this.#metrics);
    this.#answers = new BatchAnswers(session, this.#writer, this.#reads, this.#metrics);
    this.#parser = new RequestParser(session, this.#window, batch, {
      isStructured: terms.replyForm !== 'simple',
      isExtended,
      hasAllocation: terms.hasAllocation,
      readOnly: session.readOnly,
    });
  }

  get isWaitingForMemory(): boolean {
    return this.#isWaitingForMemory && !this.#isFinished;
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
    if (this.#answers.waiting > 0) this.#run();
  }

  durableFailed(from: number, error: number, text: string): void {
    this.#answers.failFrom(from, error, text);
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

  /**
   * Gives back what this client keeps from others without using it: called every second, and, with
   * `isPressed`, when somebody waits for it.
   */
  sweep(isPressed: boolean): void {
    if (this.#isEnded && !isPressed && ++this.#sweepsSinceEnd > sweepsSinceEndMax) {
      this.#onBroken();
      return;
    }
    const isQuiet = this.#sweptBytes < quietBytesMax;
    if (!isPressed) this.#sweptBytes = 0;
    if (isQuiet || isPressed) this.session.giveMemoryBack();
    if (!(isQuiet || isPressed) || !this.#window.slab || this.#isFinished) return;
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
    this.#answers.close();
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
    if (this.#reads.pending === 0) this.session.close();
  }

  #wakeSoon(): void {
    if (this.#isWakeDue || this.#isClosed) return;
    this.#isWakeDue = true;
    this.#deps.clock.soon(this.#wake);
  }

  #waitForReplyMemory(): void {
    // Who holds some already has had its share: it goes on when its own come back, by `drained` or
    // `readCompleted`, and nobody is to be cut off for its sake.
    if (this.#isWaitingForMemory) return;
    if (this.#writer.held > 0 && !this.#reads.isUrgent) return;
    this.#isWaitingForMemory = true;
    this.#deps.replies.whenFree(this.#note);
    this.#deps.pressed();
  }

  #waitForSlab(): void {
    if (this.#isWaitingForMemory) return;
    this.#isWaitingForMemory = true;
    this.session.slabs.whenFree(this.#note);
    this.#deps.pressed();
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
    return !isBlocked && this.#answers.waiting === 0 && this.#reads.isIdle;
  }

  #finish(): void {
    this.#isFinished = true;
    this.#onFinished();
    this.#leaveWindow();
  }

  /** Goes as far as possible; true when something that will wake it stands in the way. */
  #advance(): boolean {
    const window = this.#window;
    for (;;) {
      if (this.#reads.isStreaming && !this.#pumpStream()) return true;
      if (!this.#answerWaiting()) return true;
      if (this.#parser.isOver) return false;
      if (this.#turnBytes >= turnBytesMax) {
        this.#wakeSoon();
        return true;
      }
      if (this.#answers.isFull) return true;
      if (window.available < window.wanted && !this.#parser.isParked) {
        // Nothing to parse: no memory for replies needs to be held.
        if (window.settle(this.session.durable, this.#retire)) continue;
        if (!window.needsSlab) return false;
        this.#waitForSlab();
        return true;
      }
      if (!this.#writer.open()) {
        this.#waitForReplyMemory();
        return true;
      }
      this.#parseAndAnswer();
      if (this.#parser.isParked) return true;
    }
  }

  /** One batch. The writer is open. */
  #parseAndAnswer(): void {
    const writer = this.#writer;
    batch.clear();
    batch.startedAt = this.#deps.clock.monotonicMilliseconds();
    this.#parser.parse(writer.room);
    const error = this.#parser.commit();
    this.#answers.answer(batch, error);
    this.#turnBytes += writer.at;
    writer.flush();
    const longRead = this.#parser.takeLongRead();
    if (longRead) this.#reads.beginStream(longRead, batch.startedAt);
  }

  /** Answers what waited to become durable. False when there is no memory for that. */
  #answerWaiting(): boolean {
    if (this.#reads.isInsideReply) return true;
    while (this.#answers.hasAnswers) {
      if (!this.#writer.open()) {
        this.#waitForReplyMemory();
        return false;
      }
      this.#answers.writeWaiting();
      this.#writer.flush();
    }
    return true;
  }

  /** Carries a long read on. True when it is done. */
  #pumpStream(): boolean {
    switch (this.#reads.pump(turnBytesMax)) {
      case 'done':
        this.#turnBytes += this.#reads.takeStreamedBytes();
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
