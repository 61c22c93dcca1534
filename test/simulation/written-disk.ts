import { strict as assert } from 'node:assert';
import { must } from '../../src/platform/assert.ts';
import { type HostedSystem, TestHost } from '../journal/test-host.ts';
import type { SimulatedRandom } from './simulated-random.ts';

const sectorBytes = 512;

/** What one sector may hold: what was last known to be durable, and everything since. */
interface Sector {
  now: Buffer;
  sure: Buffer;
  maybe: Buffer[];
}

/** Where it is used. */
export interface WritingMachine extends HostedSystem {
  readonly random: SimulatedRandom;
  run<T>(promise: Promise<T>): Promise<T>;
}

/** What a disk of its own holds, as a clone's or a view's: what is read is what was written, and what was flushed is never lost. */
export class WrittenDisk {
  readonly exportName: string;
  readonly #machine: WritingMachine;
  readonly #sectors: Sector[];
  #host: TestHost | undefined;

  constructor(machine: WritingMachine, exportName: string, contents: Buffer) {
    this.#machine = machine;
    this.exportName = exportName;
    this.#sectors = Array.from({ length: contents.length / sectorBytes }, (_, at) => {
      const now = Buffer.from(contents.subarray(at * sectorBytes, (at + 1) * sectorBytes));
      return { now, sure: now, maybe: [] };
    });
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
    return Buffer.concat(this.#sectors.map(({ now }) => now));
  }

  #range(): { readonly first: number; readonly count: number } {
    const { random } = this.#machine;
    const count = random.chance(0.4) ? 8 * random.between(1, 4) : random.between(1, 40);
    const any = random.int(Math.max(1, this.#sectors.length - count + 1));
    const first = random.chance(0.5) ? any - (any % 8) : any;
    return { first, count: Math.min(count, this.#sectors.length - first) };
  }

  #note(first: number, bytes: Buffer): Sector[] {
    const sectors = this.#sectors.slice(first, first + bytes.length / sectorBytes);
    for (const [at, sector] of sectors.entries())
      sector.maybe.push(bytes.subarray(at * sectorBytes, (at + 1) * sectorBytes));
    return sectors;
  }

  async write(fuaChance = 0.1, host = this.host): Promise<void> {
    const { first, count } = this.#range();
    const bytes = Buffer.from(this.#machine.random.bytes(count * sectorBytes));
    const sectors = this.#note(first, bytes);
    const number = await host.write(first * sectorBytes, bytes);
    assert.ok(number > 0, `write to ${host.name}: ${number} ${host.session.errorText}`);
    for (const [at, sector] of sectors.entries())
      sector.now = bytes.subarray(at * sectorBytes, (at + 1) * sectorBytes);
    // FUA
    if (this.#machine.random.chance(fuaChance)) await this.#until(host, number);
  }

  async clear(): Promise<void> {
    const { random } = this.#machine;
    const effect = random.pick(['zero', 'hole', 'trim'] as const);
    const isAll = random.chance(0.1);
    const { first, count } = isAll ? { first: 0, count: this.#sectors.length } : this.#range();
    const zeroes = Buffer.alloc(count * sectorBytes);
    const sectors = this.#note(first, zeroes);
    const number = await this.host.clear(effect, first * sectorBytes, zeroes.length);
    assert.ok(number > 0, `clear: ${number} ${this.host.session.errorText}`);
    if (effect !== 'trim') {
      for (const sector of sectors) sector.now = Buffer.alloc(sectorBytes);
      return;
    }
    const found = await this.#read(first, count);
    for (const [at, sector] of sectors.entries()) {
      const now = found.subarray(at * sectorBytes, (at + 1) * sectorBytes);
      const isKept = now.equals(sector.now);
      assert.ok(isKept || now.every((byte) => byte === 0), `sector ${first + at} after a TRIM`);
      sector.now = now;
    }
  }

  /** Several at once, also to the same blocks: any order will do. */
  async burst(): Promise<void> {
    const machine = this.#machine;
    const { first } = this.#range();
    const hosts = Array.from({ length: 6 }, () => new TestHost(machine, this.host.name));
    const count = Math.min(24, this.#sectors.length - first);
    const written = Array.from({ length: count }, (): Buffer[] => []);
    const works = hosts.map(async (host) => {
      const from = first + machine.random.int(count);
      const length = machine.random.between(1, first + count - from);
      const bytes = Buffer.from(machine.random.bytes(length * sectorBytes));
      this.#note(from, bytes);
      for (let at = 0; at < length; at += 1)
        written[from - first + at]?.push(bytes.subarray(at * sectorBytes, (at + 1) * sectorBytes));
      const number = await host.write(from * sectorBytes, bytes);
      assert.ok(number > 0, `write to ${host.name}: ${number} ${host.session.errorText}`);
    });
    await machine.run(Promise.all(works));
    for (const host of hosts) host.close();
    const found = await this.#read(first, count);
    for (let at = 0; at < count; at += 1) {
      const sector = must(this.#sectors[first + at], 'it is there');
      const now = found.subarray(at * sectorBytes, (at + 1) * sectorBytes);
      const possible = written[at] ?? [];
      const isRight = (possible.length > 0 ? possible : [sector.now]).some((each) =>
        each.equals(now),
      );
      assert.ok(isRight, `sector ${first + at} after writes at once`);
      sector.now = now;
    }
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
    for (const sector of this.#sectors) {
      sector.sure = sector.now;
      sector.maybe = [];
    }
  }

  async check(): Promise<void> {
    const found = await this.#read(0, this.#sectors.length);
    for (const [at, { now }] of this.#sectors.entries()) {
      const read = found.subarray(at * sectorBytes, (at + 1) * sectorBytes);
      assert.ok(read.equals(now), `sector ${at} of ${this.host.name}`);
    }
  }

  /** Behind a crash each sector is what it was when it was flushed, or anything later. */
  async adopt(): Promise<void> {
    const found = await this.#read(0, this.#sectors.length);
    let torn = 0;
    for (const [at, sector] of this.#sectors.entries()) {
      const now = found.subarray(at * sectorBytes, (at + 1) * sectorBytes);
      const all = [sector.sure, ...sector.maybe];
      let isLegal = all.some((each) => each.equals(now));
      if (!isLegal && torn === 0) {
        // The process died within a write, of which a sector may be there in part.
        torn += 1;
        isLegal = all.some((each) => isTorn(now, each, all));
      }
      assert.ok(isLegal, `sector ${at} of ${this.host.name} after a crash (block ${at >> 3})`);
      sector.now = now;
      sector.sure = now;
      sector.maybe = [];
    }
  }

  /** A hole, or zeroes, is never told of what is none. */
  checkExtents(): void {
    for (const [block, state] of this.host.blockStates().entries()) {
      if (state === 0) continue;
      const sectors = this.#sectors.slice(block * 8, block * 8 + 8);
      const isZero = sectors.every(({ now }) => now.every((byte) => byte === 0));
      assert.ok(isZero, `block ${block} is told to be zero`);
    }
  }

  async #read(first: number, count: number): Promise<Buffer> {
    const { host } = this;
    const offset = first * sectorBytes;
    const length = count * sectorBytes;
    await this.#machine.until(() => host.session.admitsRead(offset, length));
    const found = await host.read(offset, length);
    assert.ok(Buffer.isBuffer(found), `${host.name}: ${String(found)} ${host.session.errorText}`);
    return found;
  }
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
