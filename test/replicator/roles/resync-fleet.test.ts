import { deepStrictEqual, ok } from 'node:assert/strict';
import { describe, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { must } from '../../../src/platform/assert.ts';
import { TestHost } from '../../journal/test-host.ts';
import type { FleetSystem } from '../fleet.ts';
import { changedBytes, isConsistent, ResyncSetting, sizeBytes } from './resync-setting.ts';

const seeds = 16;
const steps = 14;

/** A follower, and one that follows it, come back by difference whatever happens meanwhile. */
class Trial {
  readonly #setting: ResyncSetting;
  readonly #dead = new Set<FleetSystem>();
  #volumes = 0;

  private constructor(setting: ResyncSetting) {
    this.#setting = setting;
  }

  static async begin(seed: number): Promise<Trial> {
    const setting = await ResyncSetting.begin(`resync fleet ${seed}`, true);
    const trial = new Trial(setting);
    await trial.#changeVolumes();
    setting.fleet.links.cut('alpha', 'beta');
    if (trial.#chance(0.3)) setting.fleet.links.cut('beta', 'gamma');
    await setting.leaveBehind();
    // Slowly, so that much happens in the middle of it.
    const copyRate = trial.#chance(0.7) ? 512 * KiB : 64 * MiB;
    await setting.primary.verb('group configure', { group: 'g', copyRate });
    setting.fleet.links.breaksPerThousand = seed % 3 === 0 ? 5 : 0;
    setting.fleet.links.mend('alpha', 'beta');
    return trial;
  }

  #chance(share: number): boolean {
    return this.#setting.fleet.random.fraction() < share;
  }

  #below(limit: number): number {
    return Math.floor(this.#setting.fleet.random.fraction() * limit);
  }

  get #followers(): readonly FleetSystem[] {
    return [this.#setting.secondary, this.#setting.cascade];
  }

  async step(): Promise<void> {
    const { fleet, primary, secondary, cascade } = this.#setting;
    const follower = must(this.#followers[this.#below(2)], 'there are two followers');
    switch (this.#below(10)) {
      case 0:
      case 1:
        if (this.#dead.has(follower)) return;
        if (this.#chance(0.5)) follower.kill();
        else follower.losePower();
        this.#dead.add(follower);
        return;
      case 2:
      case 3:
        if (this.#dead.delete(follower)) await follower.start();
        return;
      case 4:
        await this.#restartPrimary();
        return;
      case 5:
        if (this.#chance(0.5)) fleet.links.cut('alpha', 'beta');
        else fleet.links.cut('beta', 'gamma');
        await this.#pass(this.#below(500));
        fleet.links.mend('alpha', 'beta');
        fleet.links.mend('beta', 'gamma');
        return;
      case 6:
        await this.#changeVolumes();
        return;
      case 7:
        await this.#setting.write(this.#below(30), 0, sizeBytes);
        return;
      default:
        await this.#pass(this.#below(1500));
        for (const system of [primary, secondary, cascade]) {
          if (!this.#dead.has(system)) await this.#check(system);
        }
    }
  }

  /** The faults are over: all of it is everywhere, and the same. */
  async converge(): Promise<void> {
    const { fleet, primary } = this.#setting;
    fleet.links.breaksPerThousand = 0;
    fleet.links.mend('alpha', 'beta');
    fleet.links.mend('beta', 'gamma');
    for (const follower of this.#followers) {
      if (this.#dead.delete(follower)) await follower.start();
    }
    await primary.verb('group configure', { group: 'g', copyRate: 64 * MiB });
    await this.#setting.write(5, 0, sizeBytes);
    for (const follower of this.#followers) {
      await this.#setting.resynced(follower);
      await this.#check(follower);
      deepStrictEqual(names(follower), names(primary));
      for (const name of names(primary)) await this.#compare(follower, name);
    }
  }

  /** The primary is gone for good: who follows it is what it was when it was of one instant last. */
  async promote(): Promise<void> {
    const { fleet, primary, secondary, cascade, history } = this.#setting;
    primary.kill();
    fleet.links.mend('beta', 'gamma');
    for (const follower of this.#followers) {
      if (this.#dead.delete(follower)) await follower.start();
    }
    await secondary.until(() => secondary.system.groups.has('g'));
    const group = secondary.group();
    const consistent = group.follow.state?.resync?.consistentAt;
    if (!consistent) await secondary.until(() => isConsistent(secondary.group()));
    const number = consistent?.number ?? secondary.group().watermarks.newest;
    await secondary.verb('promote', { group: 'g' });
    history.forgetAfter(number);
    deepStrictEqual(secondary.group().watermarks.newest, number);
    await this.#check(secondary);
    const host = new TestHost(secondary, 'g/v', history);
    await host.write(512 * this.#below(100), Buffer.alloc(4096, 1 + this.#below(255)));
    ok(await host.flush());
    host.close();
    const state = cascade.system.groups.get('g')?.follow.state?.resync;
    // What it took over of the history that is gone needs a command.
    if (state || cascade.group().watermarks.newest > number) return;
    await this.#setting.resynced(cascade, secondary);
    await this.#check(cascade);
  }

  async #restartPrimary(): Promise<void> {
    const { primary, history } = this.#setting;
    const { durable } = primary.group().watermarks;
    if (this.#chance(0.5)) primary.losePower();
    else primary.kill();
    await primary.start();
    const { newest } = primary.group().watermarks;
    ok(newest >= durable, `${durable} was durable, and ${newest} is there`);
    history.forgetAfter(newest);
  }

  async #changeVolumes(): Promise<void> {
    const { primary } = this.#setting;
    const others = names(primary).filter((name) => name !== 'v');
    const [first] = others;
    const choice = first === undefined ? 0 : this.#below(4);
    if (choice < 2) {
      this.#volumes += 1;
      const volume = `g/w${this.#volumes}`;
      await primary.verb('volume create', { volume, size: MiB });
      await this.#fill(volume, 0);
    } else if (choice === 2) {
      await primary.verb('volume delete', { volume: `g/${first}`, force: true });
    } else {
      const size = (primary.group().volumes.get(first ?? '')?.catalog.sizeBytes ?? 0) + 256 * KiB;
      await primary.verb('volume resize', { volume: `g/${first}`, size });
      await this.#fill(`g/${first}`, size - 256 * KiB);
    }
  }

  async #fill(name: string, from: number): Promise<void> {
    const host = new TestHost(this.#setting.primary, name);
    await host.write(from + 512 * this.#below(200), Buffer.alloc(100 * KiB, 1 + this.#below(255)));
    await host.flush();
    host.close();
  }

  /** What a system reads is what was written up to one update number, the one it has. */
  async #check(system: FleetSystem): Promise<void> {
    const group = system.system.groups.get('g');
    if (group?.state !== 'normal' || !isConsistent(group) || !group.volumes.has('v')) return;
    const { newest } = group.watermarks;
    const found = await read(system, 'v', sizeBytes);
    // Received meanwhile: then it is no one number.
    if (!found || group.watermarks.newest !== newest) return;
    const expected = this.#setting.expected(newest);
    ok(expected.equals(found), `${system.host} is not as of update ${newest}`);
  }

  async #compare(follower: FleetSystem, name: string): Promise<void> {
    const { primary } = this.#setting;
    const size = primary.group().volumes.get(name)?.catalog.sizeBytes ?? 0;
    const [here, there] = [await read(primary, name, size), await read(follower, name, size)];
    ok(here && there && here.equals(there), `${name} is another one on ${follower.host}`);
  }

  #pass(milliseconds: number): Promise<void> {
    return this.#setting.fleet.pass(milliseconds);
  }
}

function names(system: FleetSystem): string[] {
  return [...system.group().volumes.keys()].sort();
}

/** Undefined: the group is being opened again meanwhile. */
async function read(system: FleetSystem, name: string, bytes: number): Promise<Buffer | undefined> {
  const reader = new TestHost(system, `g/${name}`);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes; at += 256 * KiB) {
    const part = await reader.read(at, Math.min(256 * KiB, bytes - at));
    if (reader.revoked !== undefined) return undefined;
    if (typeof part === 'number') throw new Error(`${system.host} fails to read: ${part}`);
    parts.push(part);
  }
  reader.close();
  return Buffer.concat(parts);
}

describe('a fleet whose follower is left behind', () => {
  test.each(Array.from({ length: seeds }, (_, seed) => seed))(
    'comes back to one history by difference, seed %i',
    { timeout: 120_000 },
    async (seed) => {
      ok(changedBytes < sizeBytes);
      const trial = await Trial.begin(seed);
      for (let step = 0; step < steps; step += 1) await trial.step();
      await (seed % 4 === 3 ? trial.promote() : trial.converge());
    },
  );
});
