import { assert } from '../platform/assert.ts';

/**
 * How far a group has come: `released <= applied <= durable <= newest`, update numbers all. Each has
 * one setter; it asserts the order and that nothing goes back.
 */
export class Watermarks {
  #released: number;
  #applied: number;
  #durable: number;
  #newest: number;

  constructor(at: { released: number; applied: number; durable: number }) {
    this.#released = at.released;
    this.#applied = at.applied;
    this.#durable = at.durable;
    this.#newest = at.durable;
    assert(
      at.released <= at.applied && at.applied <= at.durable,
      `watermarks ${at.released} <= ${at.applied} <= ${at.durable}`,
    );
  }

  get released(): number {
    return this.#released;
  }
  get applied(): number {
    return this.#applied;
  }
  get durable(): number {
    return this.#durable;
  }
  get newest(): number {
    return this.#newest;
  }

  /** Numbers the next record: they are gapless. */
  next(): number {
    this.#newest += 1;
    return this.#newest;
  }

  setDurable(number: number): void {
    assert(
      number >= this.#durable && number <= this.#newest,
      'durable goes on, up to newest',
      this.#durable,
      number,
      this.#newest,
    );
    this.#durable = number;
  }

  setApplied(number: number): void {
    assert(
      number >= this.#applied && number <= this.#durable,
      'applied goes on, up to durable',
      this.#applied,
      number,
      this.#durable,
    );
    this.#applied = number;
  }

  setReleased(number: number): void {
    assert(
      number >= this.#released && number <= this.#applied,
      'released goes on, up to applied',
      this.#released,
      number,
      this.#applied,
    );
    this.#released = number;
  }
}
