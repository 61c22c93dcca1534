import { ok } from 'node:assert/strict';
import { describe, test } from 'vitest';
import { type Lineage, generationOf, positionOf } from '../../../src/group/catalog/lineage.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 4 * MiB;
const steps = 50;
const seeds = 20;

/** Three systems that die, are cut off, are promoted by whoever thinks so, and come back. */
class Trial {
  readonly fleet: Fleet;
  readonly systems: FleetSystem[] = [];
  readonly #dead = new Set<FleetSystem>();
  /** What was written in each generation of each system, and before it. */
  readonly #histories = new Map<string, History>();
  readonly #hosts = new Map<FleetSystem, TestHost>();

  private constructor(fleet: Fleet) {
    this.fleet = fleet;
  }

  static async begin(seed: number): Promise<Trial> {
    const fleet = new Fleet(`failover ${seed}`);
    const trial = new Trial(fleet);
    for (const name of ['alpha', 'beta', 'gamma']) trial.systems.push(await fleet.start(name));
    const [alpha, beta, gamma] = trial.systems as [FleetSystem, FleetSystem, FleetSystem];
    await alpha.verb('group create', { group: 'g', journalSize: 64 * MiB });
    await alpha.verb('volume create', { volume: 'g/v', size: sizeBytes });
    trial.#histories.set(trial.#key(alpha), new History());
    await trial.write(alpha, 100);
    await beta.verb('follow', { group: 'g', from: alpha.url });
    const isCascade = trial.chance(0.3);
    await beta.caughtUp(alpha);
    await gamma.verb('follow', { group: 'g', from: isCascade ? beta.url : alpha.url });
    await gamma.caughtUp(alpha);
    return trial;
  }

  chance(share: number): boolean {
    return this.fleet.random.fraction() < share;
  }

  below(limit: number): number {
    return Math.floor(this.fleet.random.fraction() * limit);
  }

  async write(system: FleetSystem, count: number): Promise<void> {
    let host = this.#hosts.get(system);
    if (!host || host.revoked !== undefined) {
      host?.close();
      host = new TestHost(system, 'g/v', this.#history(system.group().catalog.lineage));
      this.#hosts.set(system, host);
    }
    for (let i = 0; i < count; i += 1) {
      const length = 512 * (1 + this.below(32));
      const offset = 512 * this.below((sizeBytes - length) / 512);
      await host.write(offset, Buffer.alloc(length, 1 + this.below(255)));
    }
    if (this.chance(0.5)) await host.flush();
  }

  async step(): Promise<void> {
    const system = must(this.systems[this.below(3)], 'there are three');
    const other = must(this.systems[this.below(3)], 'there are three');
    const isDead = this.#dead.has(system);
    switch (this.below(13)) {
      case 0:
        if (!isDead) this.#die(system);
        return;
      case 1:
      case 2:
        if (isDead) await this.#start(system);
        return;
      case 3:
        if (other !== system) this.fleet.links.cut(system.host, other.host);
        return;
      case 4:
        this.fleet.links.mend(system.host, other.host);
        return;
      case 5:
        if (!isDead && this.chance(0.5)) await this.#promote(system);
        return;
      case 6:
        if (!isDead && other !== system && !this.#dead.has(other)) this.#return(system, other);
        await this.pass(this.below(300));
        return;
      case 7:
        if (!isDead) await this.#check(system);
        await this.pass(this.below(2000));
        return;
      default: {
        const primaries = this.systems.filter(
          (each) => !this.#dead.has(each) && this.#takesWrites(each),
        );
        const primary = primaries[this.below(primaries.length)];
        if (primary) await this.write(primary, this.below(60));
      }
    }
  }

  /** All is mended: everybody follows the newest primary, and has what that one has. */
  async end(): Promise<void> {
    for (const system of this.systems) {
      for (const other of this.systems) {
        if (other !== system) this.fleet.links.mend(system.host, other.host);
      }
      if (this.#dead.has(system)) await this.#start(system);
    }
    await this.pass(30_000);
    const primary = await this.#newestPrimary();
    await this.write(primary, 20);
    const others = this.systems.filter((system) => system !== primary);
    for (const system of others) {
      if (system.group().role === 'primary') {
        this.#hosts.get(system)?.close();
        await system.until(() => system.group().role !== 'primary', 30_000);
      }
      await this.#comeBack(system, primary);
    }
    for (const system of others) {
      await system.caughtUp(primary);
      await system.until(() => system.group().follow.state?.resync === undefined, 60_000);
      await system.caughtUp(primary);
      ok(await this.#check(system), `${system.host} is complete`);
    }
  }

  async #newestPrimary(): Promise<FleetSystem> {
    const generation = ({ catalog }: ReturnType<FleetSystem['group']>): number =>
      Math.max(generationOf(catalog.lineage), catalog.takenOver?.generation ?? 0);
    const all = [...this.systems].sort((a, b) => generation(b.group()) - generation(a.group()));
    const primaries = all.filter((system) => system.group().role === 'primary');
    const newest = primaries[0] ?? must(all[0], 'there are systems');
    const isContested = primaries.some(
      (system) => system !== newest && generation(system.group()) >= generation(newest.group()),
    );
    if (newest.group().role !== 'primary') await this.#promote(newest);
    if (isContested) await this.#promoteAgain(newest);
    return newest;
  }

  async #promoteAgain(system: FleetSystem): Promise<void> {
    const isTold = (): boolean =>
      system.status().conditions.some(({ code }) => code === 'two_primaries');
    await system.until(isTold, 60_000);
    await this.#promote(system);
  }

  /** One whose history cannot be brought back by the difference is copied anew; it has to say so. */
  async #comeBack(system: FleetSystem, primary: FleetSystem): Promise<void> {
    try {
      await system.verb('follow', { group: 'g', from: primary.url, rewind: true });
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      ok(['position_released', 'state_refuses'].includes(code), `${system.host}: ${message}`);
      this.#hosts.get(system)?.close();
      await system.verb('group delete', { group: 'g', force: true });
      await system.verb('follow', { group: 'g', from: primary.url });
    }
  }

  #die(system: FleetSystem): void {
    if (this.chance(0.5)) system.kill();
    else system.losePower();
    this.#dead.add(system);
    this.#hosts.delete(system);
  }

  async #start(system: FleetSystem): Promise<void> {
    await system.start();
    this.#dead.delete(system);
    const { catalog, watermarks, role } = system.group();
    if (role === 'primary') this.#history(catalog.lineage).forgetAfter(watermarks.newest);
  }

  async #promote(system: FleetSystem): Promise<void> {
    try {
      await system.verb('promote', { group: 'g', force: true });
    } catch {
      return;
    }
    const { lineage } = system.group().catalog;
    const key = this.#key(system);
    if (this.#histories.has(key)) return;
    const first = must(lineage.at(-1), 'a stretch was begun').firstNumber;
    const before = this.#history(lineage.slice(0, -1));
    this.#histories.set(key, before.through(first - 1));
  }

  #return(system: FleetSystem, source: FleetSystem): void {
    if (system.group().role === 'primary') return;
    const returning = system.verb('follow', { group: 'g', from: source.url, rewind: true });
    returning.catch(() => undefined);
  }

  #takesWrites(system: FleetSystem): boolean {
    return system
      .status()
      .volumes.some(({ exports, state }) => exports.length > 0 && state !== 'secondary');
  }

  /** False: it is not complete, and shows nothing. */
  async #check(system: FleetSystem): Promise<boolean> {
    const group = system.group();
    const { newest } = group.watermarks;
    const { copies = [], shows = 0, resync } = group.follow.state ?? {};
    const isComplete =
      copies.length === 0 && resync === undefined && group.watermarks.applied >= shows;
    if (!isComplete || group.role === 'diverged' || !this.#isServed(system)) return false;
    const history = this.#history(group.catalog.lineage);
    const reader = new TestHost(system, 'g/v');
    const read = await reader.read(0, sizeBytes / 8);
    const parts = [read];
    for (let at = 1; at < 8; at += 1)
      parts.push(await reader.read((at * sizeBytes) / 8, sizeBytes / 8));
    reader.close();
    if (system.group() !== group || group.watermarks.newest !== newest) return true;
    const contents = Buffer.concat(
      parts.map((part) => (typeof part === 'number' ? Buffer.alloc(0) : part)),
    );
    const expected = history.contents('g/v', sizeBytes, newest);
    ok(expected.equals(contents), `${system.host} is not as of update ${newest}`);
    return true;
  }

  #isServed(system: FleetSystem): boolean {
    return (system.status().volumes[0]?.exports.length ?? 0) > 0;
  }

  #history(lineage: Lineage): History {
    const { generation } = positionOf(lineage, lineage.at(-1)?.firstNumber ?? 0);
    const writer = lineage.at(-1)?.system;
    return must(
      this.#histories.get(`${generation} ${writer}`),
      `generation ${generation} was begun`,
    );
  }

  #key(system: FleetSystem): string {
    const last = system.group().catalog.lineage.at(-1);
    return `${last?.generation} ${last?.system}`;
  }

  pass(milliseconds: number): Promise<void> {
    return this.fleet.pass(milliseconds);
  }
}

describe('three systems', () => {
  test.each(Array.from({ length: seeds }, (_, seed) => seed))(
    'come to one history again, whoever was promoted when, seed %i',
    { timeout: 120_000 },
    async (seed) => {
      const trial = await Trial.begin(seed);
      for (let step = 0; step < steps; step += 1) await trial.step();
      await trial.end();
    },
  );
});
