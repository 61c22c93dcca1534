import { deepStrictEqual, ok } from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { readDirtyMap } from '../../../src/volume/dirty-map.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 8 * MiB;
const sectorBytes = 512;
const volumeId = 1;

/** A primary with a small journal, and who follows it. */
class Trial {
  readonly fleet: Fleet;
  readonly alpha: FleetSystem;
  readonly history = new History();
  host: TestHost;

  private constructor(fleet: Fleet, alpha: FleetSystem) {
    this.fleet = fleet;
    this.alpha = alpha;
    this.host = new TestHost(alpha, 'g/v', this.history);
  }

  static async begin(seed: string): Promise<Trial> {
    const fleet = new Fleet(seed);
    const alpha = await fleet.startPrimary(sizeBytes);
    const trial = new Trial(fleet, alpha);
    await trial.write(200, 4 * KiB, sizeBytes);
    return trial;
  }

  below(limit: number): number {
    return Math.floor(this.fleet.random.fraction() * limit);
  }

  async write(count: number, bytes: number, end: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      const offset = sectorBytes * this.below((end - bytes) / sectorBytes);
      const number = await this.host.write(offset, Buffer.alloc(bytes, 1 + this.below(255)));
      ok(number > 0, `written: ${number}`);
    }
  }

  pass(milliseconds: number): Promise<void> {
    return this.fleet.pass(milliseconds);
  }

  isBehind(name: string): boolean {
    const followers = this.alpha.group().followers.list();
    return followers.some((follower) => follower.name === name && follower.state === 'behind');
  }

  /** Writes to the first half, until that follower is left behind. */
  async leaveBehind(name: string): Promise<void> {
    for (let rounds = 0; !this.isBehind(name); rounds += 1) {
      ok(rounds < 200, `${name} is left behind`);
      await this.write(20, 100 * KiB, sizeBytes / 2);
    }
  }

  async restart(end: 'kill' | 'losePower'): Promise<void> {
    this.alpha[end]();
    await this.alpha.start();
    this.history.forgetAfter(this.alpha.group().watermarks.newest);
    this.host = new TestHost(this.alpha, 'g/v', this.history);
  }

  /** What differs between the follower's position and the journal's beginning lies in its map. */
  checkMap(follower: FleetSystem): void {
    const { systemId } = follower.system;
    const path = `/data/groups/g/dirty-${systemId}`;
    const map = must(readDirtyMap(this.alpha.disk, path), 'there is a map');
    const { released } = this.alpha.group().watermarks;
    ok(released <= map.own.number, `${released} is released, and ${map.own.number} is in the map`);
    const { durable } = follower.group().watermarks;
    ok(map.from <= durable, `the follower has ${durable}, and the map is behind ${map.from}`);
    const before = this.history.contents('g/v', sizeBytes, durable);
    const after = this.history.contents('g/v', sizeBytes, map.own.number);
    const missing: number[] = [];
    for (let at = 0; at < sizeBytes; at += sectorBytes) {
      const sector = before.subarray(at, at + sectorBytes);
      const isSame = sector.equals(after.subarray(at, at + sectorBytes));
      if (!isSame && !map.regions.covers(volumeId, at, sectorBytes)) missing.push(at);
    }
    deepStrictEqual(missing, []);
  }

  async check(follower: FleetSystem): Promise<void> {
    await follower.caughtUp(this.alpha);
    const { newest } = follower.group().watermarks;
    const reader = new TestHost(follower, 'g/v');
    const read = await reader.read(0, sizeBytes);
    reader.close();
    ok(typeof read !== 'number', `${follower.host} reads`);
    const expected = this.history.contents('g/v', sizeBytes, newest);
    ok(expected.equals(read), `${follower.host} is as of update ${newest}`);
  }
}

describe('a follower that a full journal left behind', () => {
  test.each(['a', 'b', 'c', 'd'])(
    'returns by itself with what changed, whenever its source ends (%s)',
    { timeout: 120_000 },
    async (seed) => {
      const trial = await Trial.begin(`behind ${seed}`);
      const { fleet, alpha } = trial;
      const beta = await fleet.start('beta');
      await beta.verb('follow', { group: 'g', from: alpha.url });
      await beta.caughtUp(alpha);
      await trial.pass(2000);
      fleet.links.cut('alpha', 'beta');
      await trial.leaveBehind('beta');
      for (let life = 0; life < 3; life += 1) {
        await trial.write(trial.below(200), 100 * KiB, sizeBytes / 2);
        if (trial.below(2) === 0) await trial.host.flush();
        await trial.pass(trial.below(400));
        await trial.restart(trial.below(2) === 0 ? 'kill' : 'losePower');
        ok(trial.isBehind('beta'), 'it is still behind');
        trial.checkMap(beta);
      }
      const [secondary] = alpha.status().secondaries;
      expect(secondary?.dirtyBytes).toBeGreaterThan(0);
      expect(secondary?.dirtyBytes).toBeLessThanOrEqual(sizeBytes / 2);
      const { conditions } = alpha.status();
      const condition = conditions.find(({ code }) => code === 'follower_behind');
      expect(condition?.message).toContain('comes back by itself');
      fleet.links.mend('alpha', 'beta');
      await trial.write(50, 4 * KiB, sizeBytes);
      await trial.check(beta);
      await alpha.until(() => alpha.status().secondaries[0]?.state === 'following');
      expect(alpha.status().secondaries).toMatchObject([{ dirtyBytes: null }]);
      expect(alpha.status().conditions).toEqual([]);
    },
  );

  test('takes those who follow it along', { timeout: 120_000 }, async () => {
    const trial = await Trial.begin('cascade');
    const { fleet, alpha } = trial;
    const beta = await fleet.start('beta');
    const gamma = await fleet.start('gamma');
    await beta.verb('follow', { group: 'g', from: alpha.url });
    await beta.caughtUp(alpha);
    await gamma.verb('follow', { group: 'g', from: beta.url });
    await gamma.caughtUp(alpha);
    await trial.pass(2000);
    fleet.links.cut('alpha', 'beta');
    await trial.leaveBehind('beta');
    await trial.write(100, 100 * KiB, sizeBytes / 2);
    fleet.links.mend('alpha', 'beta');
    await trial.check(beta);
    await trial.check(gamma);
    expect(gamma.group().catalog.lineage).toEqual(beta.group().catalog.lineage);
  });
});

describe('everybody who has a group', () => {
  test('is known everywhere, by name and address', { timeout: 60_000 }, async () => {
    const trial = await Trial.begin('members');
    const { fleet, alpha } = trial;
    const beta = await fleet.start('beta');
    const gamma = await fleet.start('gamma');
    const delta = await fleet.start('delta');
    await beta.verb('follow', { group: 'g', from: alpha.url });
    await delta.verb('follow', { group: 'g', from: alpha.url });
    await beta.caughtUp(alpha);
    await gamma.verb('follow', { group: 'g', from: beta.url });
    const all = [alpha, beta, gamma, delta];
    const namesAt = (system: FleetSystem): string[] =>
      system
        .group()
        .followers.members.list()
        .map(({ name }) => name)
        .sort();
    await trial.write(20, 4 * KiB, sizeBytes);
    await alpha.until(() => all.every((system) => namesAt(system).length === 3), 30_000);
    for (const system of all) {
      const others = all.filter((other) => other !== system).map(({ host }) => host);
      deepStrictEqual(namesAt(system), others.sort());
      for (const { name, url } of system.group().followers.members.list()) {
        ok(url !== undefined, `${system.host} knows where ${name} is`);
      }
    }
    expect(gamma.status().members).toContainEqual({
      name: 'alpha',
      received: alpha.group().watermarks.durable,
      url: alpha.url,
    });
    await gamma.verb('unfollow', { group: 'g' });
    await alpha.until(() => [alpha, beta, delta].every((system) => namesAt(system).length === 2));
  });

  test('finds what it needs at another one than it followed', { timeout: 60_000 }, async () => {
    const trial = await Trial.begin('floor');
    const { fleet, alpha } = trial;
    const beta = await fleet.start('beta');
    const gamma = await fleet.start('gamma');
    await beta.verb('follow', { group: 'g', from: alpha.url });
    await gamma.verb('follow', { group: 'g', from: alpha.url });
    await gamma.caughtUp(alpha);
    await beta.caughtUp(alpha);
    await trial.pass(2000);
    fleet.links.cut('alpha', 'gamma');
    const { newest: reached } = gamma.group().watermarks;
    await trial.write(100, 100 * KiB, sizeBytes);
    await beta.caughtUp(alpha);
    const settle = async (): Promise<void> => {
      beta.group().hurryApply();
      await trial.pass(2000);
    };
    await settle();
    beta.losePower();
    await beta.start();
    await beta.caughtUp(alpha);
    await settle();
    const { released, applied } = beta.group().watermarks;
    expect(applied).toBeGreaterThan(reached);
    expect(released).toBeLessThanOrEqual(reached);
    alpha.kill();
    await gamma.verb('follow', { group: 'g', from: beta.url });
    await gamma.caughtUp(beta);
    const events = gamma.daemon.events.map(({ code }) => code);
    expect(events).not.toContain('resync_begun');
  });
});
