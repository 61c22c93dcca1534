import { must } from '../../src/platform/assert.ts';
import { blockBytes, slabBytes, slabHeadroomBytes } from '../../src/platform/limits.ts';
import {
  type ExportClient,
  type ExportSession,
  type RangeEffect,
  readPending,
} from '../../src/group/apply/export.ts';
import { SystemExports } from '../../src/group/system/exports.ts';
import type { SimulatedMachine } from './simulated-system.ts';

/** Where a test host is: a machine with a daemon on it. */
export type HostedSystem = Pick<SimulatedMachine, 'system' | 'disk' | 'until'>;

/** What one record did to a volume. */
export interface Effect {
  readonly number: number;
  readonly export: string;
  readonly offset: number;
  readonly length: number;
  /** Undefined: the range reads as zero. */
  readonly bytes: Uint8Array | undefined;
}

/** Everything hosts wrote, in the order of the group, so that any prefix can be told. */
export class History {
  readonly #effects = new Map<number, Effect>();

  add(effect: Effect): void {
    this.#effects.set(effect.number, effect);
  }

  /** The records after that number were lost, as a crash may: their numbers are used again. */
  forgetAfter(number: number): void {
    for (const known of this.#effects.keys()) if (known > number) this.#effects.delete(known);
  }

  /** Another history that begins as this one, up to that number. */
  through(number: number): History {
    const history = new History();
    for (const effect of this.#effects.values()) if (effect.number <= number) history.add(effect);
    return history;
  }

  /** What the records of these numbers did, the first one left out. */
  between(from: number, through: number): Effect[] {
    return [...this.#effects.values()].filter(({ number }) => number > from && number <= through);
  }

  /** What the volume reads after records 1 to `number`. */
  contents(name: string, sizeBytes: number, number: number): Buffer {
    const contents = Buffer.alloc(sizeBytes);
    for (const effect of this.#effects.values()) {
      if (effect.export !== name || effect.number > number) continue;
      if (effect.bytes) contents.set(effect.bytes, effect.offset);
      else contents.fill(0, effect.offset, effect.offset + effect.length);
    }
    return contents;
  }
}

/** A host on an export of the engine, which uses it as the server does. */
export class TestHost implements ExportClient {
  readonly peer = '127.0.0.1:1';
  readonly session: ExportSession;
  readonly name: string;
  /** The reason that the export went away. */
  revoked: string | undefined;
  failures: { readonly from: number; readonly text: string }[] = [];
  readonly #machine: HostedSystem;
  readonly #history: History | undefined;
  #isAdmitted = false;
  #token = 0;
  readonly #reads = new Map<number, (failure: number) => void>();

  constructor(machine: HostedSystem, name: string, history?: History) {
    this.#machine = machine;
    this.#history = history;
    this.name = name;
    const exports = new SystemExports(machine.system, machine.disk);
    this.session = must(exports.find(name), `export ${name} is there`).open(this);
  }

  admitted(): void {
    this.#isAdmitted = true;
  }
  durableReached(): void {}
  durableFailed(from: number, _errno: number, text: string): void {
    this.failures.push({ from, text });
  }
  readCompleted(token: number, failure: number): void {
    must(this.#reads.get(token), 'the read is under way')(failure);
    this.#reads.delete(token);
  }
  revoke(reason: string): void {
    this.revoked = reason;
  }

  get durable(): number {
    return this.session.durable;
  }

  /** Writes, one record; its number, or the negated errno. Waits where the group does. */
  async write(offset: number, bytes: Uint8Array): Promise<number> {
    return this.#untilNumbered(bytes.length + 64, () => this.writeNow(offset, bytes));
  }

  /** What is not numbered now is asked for again. */
  async #untilNumbered(bytes: number, stamp: () => number): Promise<number> {
    for (;;) {
      await this.#admit(bytes);
      this.#isAdmitted = false;
      // Others who waited for a slab may have taken it first.
      if (this.#isPoolFull) continue;
      const number = stamp();
      if (number !== 0) return number;
      await this.#machine.until(() => this.#isAdmitted);
    }
  }

  get #isPoolFull(): boolean {
    const { pool } = this.#machine.system;
    return pool.inUse * slabBytes >= pool.bytesMax;
  }

  async #admit(bytes: number): Promise<void> {
    while (this.#isPoolFull) {
      let isFree = false;
      this.session.slabs.whenFree(() => {
        isFree = true;
      });
      await this.#machine.until(() => isFree);
    }
    while (!this.session.admit(bytes)) {
      this.#isAdmitted = false;
      await this.#machine.until(() => this.#isAdmitted);
    }
  }

  /** As `write`, after an `admit`. */
  writeNow(offset: number, bytes: Uint8Array): number {
    const slab = must(this.session.slabs.take(), 'a slab is free');
    slab.bytes.set(bytes, slabHeadroomBytes + 28);
    let number = this.session.stampWrite(slab, slabHeadroomBytes, 28, offset, bytes.length);
    const failure = this.session.commitRun();
    this.session.retire(slab);
    if (number > 0) {
      const copy = Uint8Array.from(bytes);
      const { length } = bytes;
      this.#history?.add({ number, export: this.name, offset, length, bytes: copy });
      if (failure !== 0) number = -failure;
    }
    return number;
  }

  /** TRIM or WRITE_ZEROES. */
  clear(effect: RangeEffect, offset: number, length: number): Promise<number> {
    return this.#untilNumbered(64, () => this.#clearNow(effect, offset, length));
  }

  #clearNow(effect: RangeEffect, offset: number, length: number): number {
    const slab = must(this.session.slabs.take(), 'a slab is free');
    const number = this.session.stampRange(slab, slabHeadroomBytes, 28, effect, offset, length);
    const failure = this.session.commitRun();
    this.session.retire(slab);
    if (number <= 0 || failure !== 0) return number <= 0 ? number : -failure;
    this.#history?.add({ number, export: this.name, offset, length, bytes: undefined });
    return number;
  }

  /** FLUSH: waits until everything so far is durable, or will never be. */
  async flush(): Promise<boolean> {
    const { newest } = this.session;
    const failures = this.failures.length;
    this.session.requestDurable(newest);
    const isOver = (): boolean => this.durable >= newest || this.failures.length > failures;
    await this.#machine.until(isOver);
    return this.durable >= newest;
  }

  /** The bytes, or the errno. */
  async read(offset: number, length: number): Promise<Buffer | number> {
    const bytes = Buffer.alloc(length);
    const token = this.#token++;
    let failure: number | undefined;
    this.#reads.set(token, (ended) => {
      failure = ended;
    });
    const result = this.session.read(offset, length, bytes, 0, token);
    if (result !== readPending) {
      this.#reads.delete(token);
      return result === 0 ? bytes : result;
    }
    await this.#machine.until(() => failure !== undefined);
    return failure === 0 ? bytes : (failure ?? 0);
  }

  /** State of each block, as BLOCK_STATUS tells it. */
  blockStates(): number[] {
    const out = { count: 0, lengths: new Float64Array(64), states: new Uint8Array(64) };
    const states: number[] = [];
    for (let at = 0; at < this.session.sizeBytes; ) {
      const failure = this.session.extents(at, this.session.sizeBytes - at, out);
      if (failure !== 0 || out.count === 0) throw new Error(`extents at ${at}: ${failure}`);
      for (let i = 0; i < out.count; i += 1) {
        const length = out.lengths[i] ?? 0;
        for (let done = 0; done < length; done += blockBytes) states.push(out.states[i] ?? 0);
        at += length;
      }
    }
    return states;
  }

  close(): void {
    this.session.close();
  }
}
