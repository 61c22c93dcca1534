import { assert } from '../../platform/assert.ts';

const nobody = Number.POSITIVE_INFINITY;

/**
 * Which updates may be answered to hosts, and shown to them: those up to `answerable`, the lowest of what
 * is durable here, what enough synchronous followers have durably, what a round of markers holds, and, of
 * one that follows, what its source has durably itself.
 *
 * While none of the last three is finite the gate is inactive: updates are answered as soon as they are
 * appended, and only who asks for durability waits. While it is active `answerable` never goes back.
 */
export class ReplyGate {
  #durable: number;
  #acknowledged = nobody;
  #heldBehind = nobody;
  #confirmed = nobody;
  #answerable: number;
  #isActive = false;

  constructor(durable: number) {
    this.#durable = durable;
    this.#answerable = durable;
  }

  get isActive(): boolean {
    return this.#isActive;
  }

  get durable(): number {
    return this.#durable;
  }

  /** Whoever waits for durability, or for followers, waits until this is its number. */
  get answerable(): number {
    return this.#answerable;
  }

  /** Updates above this are not answered when they are appended, whether they asked for durability or not. */
  get plainThrough(): number {
    return this.#isActive ? this.#answerable : nobody;
  }

  setDurable(number: number): void {
    assert(number >= this.#durable, 'gate: durable goes on', this.#durable, number);
    this.#durable = number;
    this.#update();
  }

  /**
   * From now on updates above `acknowledged` wait for followers. What was numbered before may have been
   * answered: it is at most `acknowledged`.
   */
  waitForFollowers(acknowledged: number): void {
    assert(this.#acknowledged === nobody, 'gate: followers are waited for already');
    assert(Number.isFinite(acknowledged), `gate: followers have ${acknowledged}`);
    this.#acknowledged = acknowledged;
    this.#update();
  }

  /** Enough followers have everything up to here. Less than before changes nothing. */
  setAcknowledged(number: number): void {
    assert(this.#acknowledged !== nobody, 'gate: no follower is waited for');
    if (number <= this.#acknowledged) return;
    assert(Number.isFinite(number), `gate: followers have ${number}`);
    this.#acknowledged = number;
    this.#update();
  }

  /** No follower is waited for any more. */
  waitForNobody(): void {
    this.#acknowledged = nobody;
    this.#update();
  }

  get waitsForFollowers(): boolean {
    return this.#acknowledged !== nobody;
  }

  /** What enough followers have; infinite while nobody is waited for. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Updates behind `number`, all of them to come, or held already, wait until `release`. */
  holdBehind(number: number): void {
    assert(number >= this.#answerable, `gate: ${this.#answerable} may be answered already`);
    this.#heldBehind = number;
    this.#update();
  }

  /** What may be read elsewhere, of what is durable: whoever reads there could be ahead of the hosts here. */
  get sendable(): number {
    return Math.min(this.#durable, this.#heldBehind, this.#confirmed);
  }

  /** Infinite while no cut holds anything. */
  get heldBehind(): number {
    return this.#heldBehind;
  }

  release(): void {
    this.#heldBehind = nobody;
    this.#update();
  }

  /**
   * The source has everything up to `number` durably; what comes behind it came ahead of its own sync, and may be
   * lost there. Less than before changes nothing.
   */
  setConfirmed(number: number): void {
    if (this.#confirmed !== nobody && number <= this.#confirmed) return;
    // What may be shown already, while something else is held, is not taken back.
    this.#confirmed = this.#isActive ? Math.max(number, this.#answerable) : number;
    this.#update();
  }

  /** Whatever is here counts, whoever has it. */
  confirmAll(): void {
    this.#confirmed = nobody;
    this.#update();
  }

  /** What the source has durably, as far as is known; infinite where nothing came ahead of that. */
  get confirmed(): number {
    return this.#confirmed;
  }

  #update(): void {
    const wasActive = this.#isActive;
    const before = this.#answerable;
    const bound = Math.min(this.#acknowledged, this.#heldBehind, this.#confirmed);
    this.#isActive = bound !== nobody;
    this.#answerable = Math.min(this.#durable, bound);
    const isKept = !wasActive || this.#answerable >= before;
    assert(isKept, 'gate: answerable goes on', before, this.#answerable);
  }
}
