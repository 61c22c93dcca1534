import type { Errno } from '../apply/export.ts';
import type { OpenSession } from '../apply/volume.ts';
import { HeldUpdates } from './held-updates.ts';
import { ReplyGate } from './reply-gate.ts';

interface AnsweredHosts {
  sessions(): Iterable<OpenSession>;
  readonly chain: { readonly capacityBytes: number };
  readonly follow: { readonly state: { readonly shows: number } | undefined };
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
  /** Updates up to this number were found in the journal at the start, and are applied whoever has them. */
  #foundThrough = 0;

  constructor(durable: number, owner: AnsweredHosts) {
    this.#gate = new ReplyGate(durable);
    this.#owner = owner;
  }

  get gate(): Pick<
    ReplyGate,
    | 'isActive'
    | 'answerable'
    | 'plainThrough'
    | 'acknowledged'
    | 'confirmed'
    | 'heldBehind'
    | 'sendable'
    | 'waitsForFollowers'
  > {
    return this.#gate;
  }

  /**
   * What is durable, and may be shown. What was found in the journal at the start may be applied before: until
   * it is answerable nothing at all is read. So may what contents of the source show: it has that durably, and
   * where it is lost before it says so, volumes would be of no one instant for ever.
   */
  get applicable(): number {
    const shows = Math.min(this.#owner.follow.state?.shows ?? 0, this.#gate.durable);
    return Math.max(this.#gate.answerable, this.#foundThrough, shows);
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
    if (found <= this.#gate.answerable) return;
    this.#foundThrough = found;
    this.#held.unknownThrough = found;
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

  /**
   * A record came from the source, which may not have it durably: until it has, it is neither applied nor
   * shown (SAFETY 22). Where too much is so to be remembered nothing at all is read.
   */
  received(number: number, volume: number, offset: number, length: number, bytes: number): void {
    if (number <= this.#gate.confirmed) return;
    const { capacityBytes } = this.#owner.chain;
    if (this.#held.admits(bytes, capacityBytes)) {
      this.#held.add(number, volume, offset, length, bytes);
    } else this.#held.unknownThrough = number;
  }

  /** Of what is here at a start, up to `found`, the source may lack what is behind `confirmed`. */
  foundConfirmed(confirmed: number, found: number): void {
    this.#gate.setConfirmed(confirmed);
    if (found > this.#gate.answerable) this.#held.unknownThrough = found;
  }

  /** The source has everything up to here durably; from now on what comes behind it is held. */
  setConfirmed(number: number): void {
    this.#change(() => this.#gate.setConfirmed(number));
  }

  /** The same, where anything is held. */
  confirmThrough(number: number): void {
    if (number > this.#gate.confirmed) this.setConfirmed(number);
  }

  /** What is here counts from now on, whoever has it. */
  confirmAll(): void {
    if (Number.isFinite(this.#gate.confirmed)) this.#change(() => this.#gate.confirmAll());
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
    if (answerable >= this.#foundThrough) this.#foundThrough = 0;
    this.#held.releaseThrough(this.#gate.isActive ? answerable : Number.POSITIVE_INFINITY);
    for (const session of this.#owner.sessions()) session.answerableAdvanced(answerable);
  }
}
