import type { Errno } from '../apply/export.ts';
import type { OpenSession } from '../apply/volume.ts';
import { HeldUpdates } from './held-updates.ts';
import { ReplyGate } from './reply-gate.ts';

interface AnsweredHosts {
  sessions(): Iterable<OpenSession>;
  /** More may be shown and applied, for another reason than that it is durable. */
  mayShowMore(): void;
  /** The same of what may be sent to followers. */
  maySendMore(): void;
}

/** Which updates hosts may be answered and shown, and that they are told when more may. */
export class HostReplies {
  readonly #gate: ReplyGate;
  readonly #held = new HeldUpdates();
  readonly #owner: AnsweredHosts;

  constructor(durable: number, owner: AnsweredHosts) {
    this.#gate = new ReplyGate(durable);
    this.#owner = owner;
  }

  get gate(): Pick<
    ReplyGate,
    'isActive' | 'answerable' | 'plainThrough' | 'acknowledged' | 'sendable'
  > {
    return this.#gate;
  }

  /**
   * What is durable, and may be shown. What was found in the journal at the start may be applied before: until
   * it is answerable nothing at all is read.
   */
  get applicable(): number {
    return Math.max(this.#gate.answerable, this.#held.unknownThrough);
  }

  /** Updates that wait for more than durability, as far as they are of this life. */
  get heldUpdates(): number {
    return this.#held.count;
  }

  /** Whether an update of so many bytes may be stamped: what waits already is bounded. */
  admits(bytes: number, journal: { readonly capacityBytes: number }): boolean {
    return !this.#gate.isActive || this.#held.admits(bytes, journal.capacityBytes);
  }

  /** An update was numbered. */
  stamped(number: number, volume: number, offset: number, length: number, bytes: number): void {
    if (this.#gate.isActive) this.#held.add(number, volume, offset, length, bytes);
  }

  /** Whether reading there would show what was not answered. */
  holds(volume: number, offset: number, length: number): boolean {
    return this.#gate.isActive && this.#held.overlaps(volume, offset, length);
  }

  setDurable(durable: number): void {
    const before = this.#gate.answerable;
    this.#gate.setDurable(durable);
    if (this.#gate.isActive && this.#gate.answerable === before) return;
    this.#tell();
  }

  /** What is numbered from now on waits for followers; `found`: updates up to there may wait already. */
  waitForFollowers(acknowledged: number, found = 0): void {
    this.#gate.waitForFollowers(acknowledged);
    if (found > this.#gate.answerable) this.#held.unknownThrough = found;
  }

  setAcknowledged(number: number): void {
    this.#change(() => this.#gate.setAcknowledged(number));
  }

  /** A cut holds what is numbered behind `number`, or holds less of it than before. */
  holdBehind(number: number): void {
    this.#change(() => this.#gate.holdBehind(number));
    this.#owner.maySendMore();
  }

  /** No cut holds anything. */
  release(): void {
    this.#change(() => this.#gate.release());
    this.#owner.maySendMore();
  }

  waitForNobody(): void {
    if (this.#gate.waitsForFollowers) this.#change(() => this.#gate.waitForNobody());
  }

  /** Whoever waits for what is not answerable is told that it failed: it may stand or not. */
  failWaiting(error: Errno, text: string): void {
    for (const session of this.#owner.sessions()) this.fail(session, error, text);
  }

  fail(session: OpenSession, error: Errno, text: string): void {
    const { answerable } = this.#gate;
    if (session.waitsFor <= answerable) return;
    session.waitsFor = 0;
    session.client.durableFailed(answerable + 1, error, text);
  }

  #change(change: () => void): void {
    const before = this.#gate.answerable;
    change();
    if (this.#gate.answerable === before && this.#gate.isActive) return;
    this.#tell();
    this.#owner.mayShowMore();
  }

  #tell(): void {
    const { answerable } = this.#gate;
    this.#held.releaseThrough(this.#gate.isActive ? answerable : Number.POSITIVE_INFINITY);
    for (const session of this.#owner.sessions()) session.answerableAdvanced(answerable);
  }
}
