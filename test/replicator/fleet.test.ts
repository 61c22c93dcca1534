import { deepStrictEqual, ok } from 'node:assert/strict';
import { describe, test } from 'vitest';
import { lineageThrough } from '../../src/group/lineage.ts';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { History, TestHost } from '../journal/test-host.ts';
import { Fleet, type FleetSystem } from './fleet.ts';

const sizeBytes = 4 * MiB;
const steps = 25;
const seeds = 20;

/** A primary and two followers through crashes, power losses, cut links and broken answers. */
class Trial {
  readonly fleet: Fleet;
  readonly history = new History();
  readonly followers: FleetSystem[] = [];
  readonly #dead = new Set<FleetSystem>();
  readonly #primary: FleetSystem;
  #host: TestHost;

  private constructor(fleet: Fleet, primary: FleetSystem) {
    this.fleet = fleet;
    this.#primary = primary;
    this.#host = new TestHost(primary, 'g/v', this.history);
  }

  static async begin(seed: number): Promise<Trial> {
    const fleet = new Fleet(`fleet ${seed}`);
    const primary = await fleet.start('alpha');
    await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
    await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
    const trial = new Trial(fleet, primary);
    await trial.write(trial.#below(1500));
    await trial.#host.flush();
    if (trial.#chance(0.7)) {
      // Then the journal alone does not bring a follower.
      primary.group().hurryApply();
      await primary.until(() => primary.group().watermarks.released > 0);
    }
    for (const name of ['beta', 'gamma']) {
      const follower = await fleet.start(name);
      trial.followers.push(follower);
      await follower.verb('follow', { group: 'g', from: primary.url });
    }
    fleet.links.breaksPerThousand = trial.#chance(0.5) ? 5 : 0;
    return trial;
  }

  #chance(share: number): boolean {
    return this.fleet.random.fraction() < share;
  }

  #below(limit: number): number {
    return Math.floor(this.fleet.random.fraction() * limit);
  }

  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      const length = 512 * (1 + this.#below(32));
      const offset = 512 * this.#below((sizeBytes - length) / 512);
      if (this.#chance(0.1)) {
        await this.#host.clear(this.#chance(0.5) ? 'zero' : 'hole', offset, length);
      } else {
        await this.#host.write(offset, Buffer.alloc(length, 1 + this.#below(255)));
      }
    }
  }

  async step(): Promise<void> {
    const follower = must(this.followers[this.#below(2)], 'there are two followers');
    const { links } = this.fleet;
    switch (this.#below(8)) {
      case 0:
        if (this.#dead.has(follower)) return;
        if (this.#chance(0.5)) follower.kill();
        else follower.losePower();
        this.#dead.add(follower);
        return;
      case 1:
        if (this.#dead.delete(follower)) await follower.start();
        return;
      case 2:
        await this.#restartPrimary();
        return;
      case 3:
        links.cut('alpha', follower.host);
        return;
      case 4:
        links.mend('alpha', follower.host);
        return;
      case 5:
        if (!this.#dead.has(follower)) await this.#check(follower);
        await this.#pass(this.#below(200));
        return;
      default:
        await this.write(this.#below(120));
    }
  }

  /** The faults are over: all of it is everywhere, and the same. */
  async end(): Promise<void> {
    this.fleet.links.breaksPerThousand = 0;
    for (const follower of this.followers) {
      this.fleet.links.mend('alpha', follower.host);
      if (this.#dead.has(follower)) await follower.start();
    }
    await this.write(20);
    await this.#host.flush();
    for (const follower of this.followers) {
      await follower.caughtUp(this.#primary);
      await this.#check(follower);
      const { lineage } = this.#primary.group().catalog;
      const { catalog, watermarks } = follower.group();
      deepStrictEqual(catalog.lineage, lineageThrough(lineage, watermarks.newest));
    }
  }

  async #restartPrimary(): Promise<void> {
    const { durable } = this.#primary.group().watermarks;
    if (this.#chance(0.5)) this.#primary.losePower();
    else this.#primary.kill();
    await this.#primary.start();
    const { newest } = this.#primary.group().watermarks;
    ok(newest >= durable, `${durable} was durable, and ${newest} is there`);
    this.history.forgetAfter(newest);
    this.#host = new TestHost(this.#primary, 'g/v', this.history);
  }

  /** What a follower reads is what was written up to one update number, the one it has. */
  async #check(follower: FleetSystem): Promise<void> {
    const group = follower.group();
    const { copies = [], shows = 0 } = group.follow.state ?? {};
    const isResynced = group.follow.state?.resync === undefined;
    const isComplete = copies.length === 0 && isResynced && group.watermarks.applied >= shows;
    if (!isComplete || !group.volumes.has('v')) return;
    const { newest } = group.watermarks;
    const reader = new TestHost(follower, 'g/v');
    const parts: Buffer[] = [];
    for (let at = 0; at < sizeBytes; at += 512 * KiB) {
      const read = await reader.read(at, 512 * KiB);
      if (typeof read === 'number') throw new Error(`${follower.host} fails to read: ${read}`);
      parts.push(read);
    }
    reader.close();
    // Received meanwhile: then it is no one number.
    if (group.watermarks.newest !== newest) return;
    const expected = this.history.contents('g/v', sizeBytes, newest);
    ok(expected.equals(Buffer.concat(parts)), `${follower.host} is not as of update ${newest}`);
  }

  async #pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.fleet.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.#primary.until(() => isOver, milliseconds + 1000);
  }
}

describe('a fleet', () => {
  test.each(Array.from({ length: seeds }, (_, seed) => seed))(
    'holds one history through all that can happen, seed %i',
    { timeout: 120_000 },
    async (seed) => {
      const trial = await Trial.begin(seed);
      for (let step = 0; step < steps; step += 1) await trial.step();
      await trial.end();
    },
  );
});
