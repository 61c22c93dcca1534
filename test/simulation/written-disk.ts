import { strict as assert } from 'node:assert';
import { blockBytes } from '../../src/platform/limits.ts';
import { type HostedSystem, TestHost } from '../journal/test-host.ts';
import type { SimulatedRandom } from './simulated-random.ts';

const sectorBytes = 512;

/** Where it is used. */
export interface WritingMachine extends HostedSystem {
  readonly random: SimulatedRandom;
  run<T>(promise: Promise<T>): Promise<T>;
}

/** What a disk of its own holds, as a clone's or a view's: what is read is what was written, and what was flushed is never lost. */
export class WrittenDisk {
  readonly exportName: string;
  readonly #machine: WritingMachine;
  readonly #now: Buffer;
  /** What was last known to be durable. */
  readonly #sure: Buffer;
  /** By sector: everything since. */
  readonly #maybe = new Map<number, Buffer[]>();
  readonly #sectors: number;
  #host: TestHost | undefined;

  constructor(machine: WritingMachine, exportName: string, contents: Buffer) {
    this.#machine = machine;
    this.exportName = exportName;
    this.#now = Buffer.from(contents);
    this.#sure = Buffer.from(contents);
    this.#sectors = contents.length / sectorBytes;
  }

  get host(): TestHost {
    // Its group was closed, and opened again.
    if (this.#host?.revoked !== undefined) this.close();
    this.#host ??= new TestHost(this.#machine, this.exportName);
    return this.#host;
  }

  close(): void {
    this.#host?.close();
    this.#host = undefined;
  }

  /** Its daemon is gone. */
  forgetHost(): void {
    this.#host = undefined;
  }

  get contents(): Buffer {
    return Buffer.from(this.#now);
  }

  #range(): { readonly first: number; readonly count: number } {
    const { random } = this.#machine;
    const count = random.chance(0.4) ? 8 * random.between(1, 4) : random.between(1, 40);
    const any = random.int(Math.max(1, this.#sectors - count + 1));
    const first = random.chance(0.5) ? any - (any % 8) : any;
    return { first, count: Math.min(count, this.#sectors - first) };
  }

  #note(first: number, bytes: Buffer): void {
    for (let at = 0; at < bytes.length / sectorBytes; at += 1) {
      const maybe = this.#maybe.get(first + at);
      if (maybe) maybe.push(sectorOf(bytes, at));
      else this.#maybe.set(first + at, [sectorOf(bytes, at)]);
    }
  }

  async write(fuaChance = 0.1, host = this.host): Promise<void> {
    const { first, count } = this.#range();
    const bytes = Buffer.from(this.#machine.random.bytes(count * sectorBytes));
    this.#note(first, bytes);
    const number = await host.write(first * sectorBytes, bytes);
    assert.ok(number > 0, `write to ${host.name}: ${number} ${host.session.errorText}`);
    bytes.copy(this.#now, first * sectorBytes);
    // FUA
    if (this.#machine.random.chance(fuaChance)) await this.#until(host, number);
  }

  async clear(): Promise<void> {
    const { random } = this.#machine;
    const effect = random.pick(['zero', 'hole', 'trim'] as const);
    const isAll = random.chance(0.1);
    const { first, count } = isAll ? { first: 0, count: this.#sectors } : this.#range();
    const cleared = Buffer.alloc(count * sectorBytes);
    this.#note(first, cleared);
    const number = await this.host.clear(effect, first * sectorBytes, cleared.length);
    assert.ok(number > 0, `clear: ${number} ${this.host.session.errorText}`);
    const found = effect === 'trim' ? await this.#read(first, count) : cleared;
    for (let at = 0; at < count; at += 1) {
      const now = sectorOf(found, at);
      if (!isZero(now) && !now.equals(sectorOf(this.#now, first + at)))
        assert.fail(`sector ${first + at} after a TRIM`);
    }
    found.copy(this.#now, first * sectorBytes);
  }

  /** Several at once, also to the same blocks: any order will do. */
  async burst(): Promise<void> {
    const machine = this.#machine;
    const { first } = this.#range();
    const hosts = Array.from({ length: 6 }, () => new TestHost(machine, this.host.name));
    const count = Math.min(24, this.#sectors - first);
    const written = Array.from({ length: count }, (): Buffer[] => []);
    const works = hosts.map(async (host) => {
      const from = first + machine.random.int(count);
      const length = machine.random.between(1, first + count - from);
      const bytes = Buffer.from(machine.random.bytes(length * sectorBytes));
      this.#note(from, bytes);
      for (let at = 0; at < length; at += 1) written[from - first + at]?.push(sectorOf(bytes, at));
      const number = await host.write(from * sectorBytes, bytes);
      assert.ok(number > 0, `write to ${host.name}: ${number} ${host.session.errorText}`);
    });
    await machine.run(Promise.all(works));
    for (const host of hosts) host.close();
    const found = await this.#read(first, count);
    for (const [at, possible] of written.entries()) {
      const now = sectorOf(found, at);
      if (possible.length === 0) possible.push(sectorOf(this.#now, first + at));
      const isRight = possible.some((each) => each.equals(now));
      assert.ok(isRight, `sector ${first + at} after writes at once`);
    }
    found.copy(this.#now, first * sectorBytes);
  }

  async flush(): Promise<void> {
    const { newest } = this.host.session;
    await this.#until(this.host, newest);
  }

  /** What is written meanwhile is not waited for. */
  beginFlush(): void {
    this.host.session.requestDurable(this.host.session.newest);
  }

  /** Everything answered before is durable then. */
  async #until(host: TestHost, number: number): Promise<void> {
    host.session.requestDurable(number);
    await this.#machine.until(() => host.durable >= number);
    for (const sector of this.#maybe.keys())
      sectorOf(this.#now, sector).copy(sectorOf(this.#sure, sector));
    this.#maybe.clear();
  }

  async check(): Promise<void> {
    const found = await this.#read(0, this.#sectors);
    if (found.equals(this.#now)) return;
    const at = found.findIndex((byte, position) => byte !== this.#now[position]);
    assert.fail(`sector ${Math.floor(at / sectorBytes)} of ${this.host.name}`);
  }

  /** Behind a crash each sector is what it was when it was flushed, or anything later. */
  async adopt(): Promise<void> {
    const found = await this.#read(0, this.#sectors);
    let torn = 0;
    for (let at = 0; at < this.#sectors; at += 1) {
      const now = sectorOf(found, at);
      const sure = sectorOf(this.#sure, at);
      if (now.equals(sure)) continue;
      const all = [sure, ...(this.#maybe.get(at) ?? [])];
      let isLegal = all.some((each) => each.equals(now));
      if (!isLegal && torn === 0) {
        // The process died within a write, of which a sector may be there in part.
        torn += 1;
        isLegal = all.some((each) => isTorn(now, each, all));
      }
      if (!isLegal)
        assert.fail(`sector ${at} of ${this.host.name} after a crash (block ${at >> 3})`);
    }
    found.copy(this.#now);
    found.copy(this.#sure);
    this.#maybe.clear();
  }

  /** A hole, or zeroes, is never told of what is none. */
  checkExtents(): void {
    for (const [block, state] of this.host.blockStates().entries()) {
      if (state === 0) continue;
      const isCleared = isZero(this.#now.subarray(block * blockBytes, (block + 1) * blockBytes));
      assert.ok(isCleared, `block ${block} is told to be zero`);
    }
  }

  async #read(first: number, count: number): Promise<Buffer> {
    const { host } = this;
    const offset = first * sectorBytes;
    const length = count * sectorBytes;
    await this.#machine.until(() => host.session.admitsRead(offset, length));
    const found = await host.read(offset, length);
    if (typeof found === 'number') assert.fail(`${host.name}: ${found} ${host.session.errorText}`);
    return found;
  }
}

const zeroes = Buffer.alloc(blockBytes);

/** At most a block. */
function isZero(bytes: Buffer): boolean {
  return bytes.equals(zeroes.subarray(0, bytes.length));
}

function sectorOf(bytes: Buffer, at: number): Buffer {
  return bytes.subarray(at * sectorBytes, (at + 1) * sectorBytes);
}

/** It begins as the one and goes on as any other. */
function isTorn(now: Buffer, begin: Buffer, others: readonly Buffer[]): boolean {
  let same = 0;
  while (same < now.length && now[same] === begin[same]) same += 1;
  return others.some((each) => {
    let from = now.length;
    while (from > 0 && now[from - 1] === each[from - 1]) from -= 1;
    return from <= same;
  });
}
