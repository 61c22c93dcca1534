import { describe, expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import type { GroupStatus } from '../../../src/control/schema-status.ts';
import { TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';
import { isStreaming } from '../follower/streamed-pair.ts';

const sizeBytes = 8 * MiB;
const settings = { checksumPointMilliseconds: 300 };

/** A primary with two volumes, and whoever follows it: points are numbered often. */
class Trial {
  readonly fleet: Fleet;
  readonly alpha: FleetSystem;

  private constructor(fleet: Fleet, alpha: FleetSystem) {
    this.fleet = fleet;
    this.alpha = alpha;
  }

  static async begin(seed: string): Promise<Trial> {
    const fleet = new Fleet(seed);
    const alpha = fleet.add('alpha');
    await alpha.start(settings);
    await alpha.verb('group create', { group: 'g', journalSize: 64 * MiB });
    await alpha.verb('volume create', { volume: 'g/v', size: sizeBytes });
    await alpha.verb('volume create', { volume: 'g/w', size: sizeBytes + 512 });
    const trial = new Trial(fleet, alpha);
    await trial.write(100);
    return trial;
  }

  async follower(host: string, source: FleetSystem = this.alpha): Promise<FleetSystem> {
    const system = this.fleet.add(host);
    await system.start(settings);
    await system.verb('follow', { group: 'g', from: source.url });
    await system.caughtUp(this.alpha);
    return system;
  }

  /** One that was found to have something else in `g/v`. */
  async differingFollower(host: string): Promise<FleetSystem> {
    const system = await this.follower(host);
    await this.write(20);
    await this.agreed(system);
    // A checkpoint of all of it, and then they stand still.
    await this.pass(20_000);
    system.kill();
    spoil(system, '0001.checksums');
    await system.start(settings);
    await this.write(20);
    await system.until(() => differs(system));
    return system;
  }

  /** Of any alignment, some of it zeroed or given back, and a snapshot now and then. */
  async write(count: number, primary = this.alpha): Promise<void> {
    const { random } = this.fleet;
    for (let i = 0; i < count; i += 1) {
      const host = new TestHost(primary, random.fraction() < 0.5 ? 'g/v' : 'g/w');
      const length = 1 + Math.floor(random.fraction() * 60_000);
      const offset = Math.floor(random.fraction() * (sizeBytes - length));
      const chance = random.fraction();
      if (chance < 0.2) await host.clear('hole', offset, length);
      else if (chance < 0.3) await host.clear('zero', offset, length);
      else await host.write(offset, Buffer.alloc(length, random.next() % 5));
      host.close();
    }
  }

  /** What that system's source knows of it. */
  told(system: FleetSystem, source = this.alpha): GroupStatus['secondaries'][number]['checksums'] {
    const found = source.status().secondaries.find(({ name }) => name === system.system.name);
    if (!found) throw new Error(`${system.system.name} does not follow ${source.system.name}`);
    return found.checksums;
  }

  pass(milliseconds: number): Promise<void> {
    return this.fleet.pass(milliseconds);
  }

  /** Both sides are shown to agree behind what was written last. */
  async agreed(
    system: FleetSystem,
    primary = this.alpha,
    { newest }: { readonly newest: number } = primary.group().watermarks,
  ): Promise<GroupStatus['checksums']> {
    await system.until(() => {
      const agreed = system.system.groups.get('g')?.checksums.agreed;
      return (agreed?.number ?? 0) >= newest || differs(system);
    });
    return system.status().checksums;
  }
}

function differs(system: FleetSystem): boolean {
  return system.system.groups.get('g')?.conditions.has('g', 'checksum_differs') === true;
}

/** One entry of the checksums of a volume is another, as a wrong apply would leave it. */
function spoil(system: FleetSystem, name: string): void {
  const path = `/data/groups/g/checksums/${name}`;
  const file = system.machine.attach().openSync(path, 'read-write', 'checksums');
  const entry = Buffer.alloc(4);
  const at = file.nextDataSync(0);
  file.readSync(entry, 0, 4, at);
  entry.writeInt32LE(~entry.readInt32LE());
  file.writeSync(entry, 0, 4, at);
  file.dataSyncSync();
  file.closeSync();
}

describe('checksums', () => {
  test('show that a follower, and one that follows it, hold the same', async () => {
    const trial = await Trial.begin('agree');
    const beta = await trial.follower('beta');
    const gamma = await trial.follower('gamma', beta);
    for (let round = 0; round < 4; round += 1) {
      await trial.write(60);
      if (round === 1) await trial.alpha.verb('snapshot create', { snapshot: 'g@s' });
      if (round === 2)
        await trial.alpha.verb('volume resize', { volume: 'g/v', size: 2 * sizeBytes });
      const { newest } = trial.alpha.group().watermarks;
      for (const system of [beta, gamma]) {
        const checksums = await trial.agreed(system, trial.alpha, { newest });
        const { state, differing, agreedTime } = checksums;
        expect({ state, differing }).toEqual({ state: 'kept', differing: [] });
        expect(agreedTime).toMatch(/Z$/);
        const source = system === beta ? trial.alpha : beta;
        await source.until(() => (trial.told(system, source).agreedAt ?? 0) >= newest);
        const told = trial.told(system, source);
        expect(told).toMatchObject({ state: 'same', comparedAt: told.agreedAt, differing: [] });
        expect(told.agreedTime).toMatch(/Z$/);
      }
    }
  });

  test('cost two records where nothing more is written', async () => {
    const trial = await Trial.begin('quiet');
    await trial.pass(5000);
    const { newest } = trial.alpha.group().watermarks;
    await trial.pass(60_000);
    expect(trial.alpha.group().watermarks.newest).toBe(newest);
  });

  test.each(['kill', 'losePower'] as const)(
    'give no alarm over deaths of either side (%s)',
    async (end) => {
      const trial = await Trial.begin(end);
      const beta = await trial.follower('beta');
      for (let round = 0; round < 6; round += 1) {
        await trial.write(30);
        await trial.pass(100 * round);
        const dying = round % 2 === 0 ? trial.alpha : beta;
        dying[end]();
        await dying.start(settings);
        await trial.write(30);
        await beta.until(
          () => beta.group().watermarks.newest >= trial.alpha.group().watermarks.newest,
        );
        expect(differs(beta)).toBe(false);
      }
      expect((await trial.agreed(beta)).differing).toEqual([]);
    },
    120_000,
  );

  test('are built anew beside apply where they were off, and then agree', async () => {
    const trial = await Trial.begin('built');
    const beta = await trial.follower('beta');
    await beta.verb('group configure', { group: 'g', checksums: 'off' });
    await trial.write(100);
    await trial.pass(3000);
    expect(beta.status().checksums.state).toBe('off');
    await beta.verb('group configure', { group: 'g', checksums: 'on' });
    await trial.write(100);
    expect((await trial.agreed(beta)).state).toBe('kept');
  });

  test('never hold up apply where they cannot be written, and come back', async () => {
    const trial = await Trial.begin('no room');
    const beta = await trial.follower('beta');
    await trial.agreed(beta);
    beta.machine.faults.add({ kind: 'no_space', operation: 'write', role: 'checksums', nth: 1 });
    await trial.write(50);
    const codes = (): string[] =>
      beta
        .group()
        .conditions.list()
        .map(({ code }) => code);
    await beta.until(() => codes().includes('checksums_failed'));
    expect(codes()).toEqual(['checksums_failed']);
    await beta.caughtUp(trial.alpha);
    await beta.until(() => codes().length === 0);
    await trial.write(50);
    expect(await trial.agreed(beta)).toMatchObject({ state: 'kept', differing: [] });
  });

  test('agree behind a promotion, in both directions of following', async () => {
    const trial = await Trial.begin('promoted');
    const beta = await trial.follower('beta');
    await trial.agreed(beta);
    await trial.alpha.verb('demote', { group: 'g' });
    await beta.caughtUp(trial.alpha);
    await beta.verb('promote', { group: 'g' });
    await trial.write(50, beta);
    await trial.alpha.verb('follow', { group: 'g', from: beta.url });
    await trial.alpha.caughtUp(beta);
    await trial.write(50, beta);
    expect((await trial.agreed(trial.alpha, beta)).differing).toEqual([]);
  });

  test('tell what is not the same, between which points, and end when it is again', async () => {
    const trial = await Trial.begin('differs');
    const beta = await trial.differingFollower('beta');
    expect(beta.status().checksums.differing).toEqual(['v']);
    const [condition] = beta.group().conditions.list();
    expect(condition).toMatchObject({ code: 'checksum_differs', nextCommand: 'jnbd verify g' });
    expect(condition?.message).toMatch(/^volume g\/v is not what its source had at update \d+/);
    const atSource = () => trial.alpha.group().conditions.list();
    await trial.alpha.until(() => atSource().length > 0);
    expect(atSource()).toMatchObject([{ code: 'follower_differs', nextCommand: 'jnbd verify g' }]);
    expect(atSource()[0]?.message).toMatch(/^what follower beta has of volume g\/v is not/);
    expect(trial.told(beta)).toMatchObject({ state: 'differs', differing: ['v'] });
    await beta.verb('group configure', { group: 'g', checksums: 'off' });
    expect(differs(beta)).toBe(false);
    await trial.alpha.until(() => trial.told(beta).state === 'off');
    expect(atSource()).toEqual([]);
    await beta.verb('group configure', { group: 'g', checksums: 'on' });
    await trial.write(20);
    expect((await trial.agreed(beta)).differing).toEqual([]);
    await trial.alpha.until(() => trial.told(beta).state === 'same');
    await trial.alpha.verb('secondary remove', { group: 'g', secondary: 'beta' });
    expect(trial.alpha.status().secondaries).toEqual([]);
  });

  test('are told to the source on a stream, too, and after its death', async () => {
    const trial = await Trial.begin('streamed');
    const beta = await trial.follower('beta');
    trial.alpha.group().followers.setSynchronous(beta.system.systemId, true);
    await beta.until(() => isStreaming(beta));
    for (const end of [undefined, 'kill'] as const) {
      if (end) {
        trial.alpha[end]();
        await trial.alpha.start(settings);
        await beta.until(() => isStreaming(beta));
      }
      await trial.write(20);
      const { newest } = trial.alpha.group().watermarks;
      await trial.agreed(beta);
      expect(isStreaming(beta)).toBe(true);
      await trial.alpha.until(() => (trial.told(beta).agreedAt ?? 0) >= newest);
      expect(isStreaming(beta)).toBe(true);
    }
  });

  test('of one that is promoted say no more what its source had, but what those behind it have', async () => {
    const trial = await Trial.begin('promoted with a difference');
    const beta = await trial.differingFollower('beta');
    await beta.caughtUp(trial.alpha);
    await trial.alpha.verb('demote', { group: 'g' });
    await beta.verb('promote', { group: 'g' });
    const { checksums, conditions } = beta.status();
    expect(conditions).toEqual([]);
    expect(checksums).toMatchObject({ agreedAt: null, differing: [] });
    await trial.alpha.verb('follow', { group: 'g', from: beta.url });
    await trial.write(20, beta);
    expect((await trial.agreed(trial.alpha, beta)).differing).toEqual(['v']);
    expect(differs(beta)).toBe(false);
  });

  test('of one that follows nobody any more say nothing, until it follows again', async () => {
    const trial = await Trial.begin('unfollowed with a difference');
    const beta = await trial.differingFollower('beta');
    await beta.verb('unfollow', { group: 'g' });
    const { checksums, conditions } = beta.status();
    expect(conditions).toEqual([]);
    expect(checksums).toMatchObject({ agreedAt: null, differing: [] });
    // What was received before, too, is compared with nothing when it is applied.
    await trial.pass(20_000);
    expect(beta.status().conditions).toEqual([]);
    await beta.verb('follow', { group: 'g', from: trial.alpha.url });
    await trial.write(20);
    expect((await trial.agreed(beta)).differing).toEqual(['v']);
    expect(differs(beta)).toBe(true);
  });
});
