import { deepStrictEqual, ok } from 'node:assert/strict';
import type { CatalogSnapshot } from '../../../src/group/catalog/snapshots.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

export const sizeBytes = 4 * MiB + 512;

/** Systems that follow each other, and what every snapshot of their group must read. */
export class SnapshotFleet {
  readonly fleet: Fleet;
  readonly alpha: FleetSystem;
  history = new History();
  /** What a snapshot was made of, by its name. */
  readonly contents = new Map<string, Buffer>();

  private constructor(fleet: Fleet, alpha: FleetSystem) {
    this.fleet = fleet;
    this.alpha = alpha;
  }

  static async begin(seed: string, cacheMissChance = 0.1): Promise<SnapshotFleet> {
    const fleet = new Fleet(seed, { cacheMissChance });
    const alpha = await fleet.startPrimary(sizeBytes);
    const setting = new SnapshotFleet(fleet, alpha);
    await setting.write(alpha, 60);
    return setting;
  }

  async follow(name: string, source: FleetSystem): Promise<FleetSystem> {
    const follower = await this.fleet.start(name);
    await follower.verb('follow', { group: 'g', from: source.url });
    return follower;
  }

  async write(primary: FleetSystem, count: number, bytesMax = 40 * KiB): Promise<void> {
    const host = new TestHost(primary, 'g/v', this.history);
    const { random } = this.fleet;
    for (let i = 0; i < count; i += 1) {
      const length = 512 * random.between(1, bytesMax / 512);
      const offset = 512 * random.int((sizeBytes - length) / 512 + 1);
      if (random.chance(0.1)) await host.clear(random.pick(['zero', 'hole']), offset, length);
      else await host.write(offset, Buffer.alloc(length, random.between(1, 255)));
    }
    await host.flush();
    host.close();
  }

  async snapshot(primary: FleetSystem, name: string): Promise<void> {
    await primary.verb('snapshot create', { snapshot: `g@${name}` });
    const { number } = snapshotNamed(primary, name);
    this.contents.set(name, this.history.contents('g/v', sizeBytes, number));
  }

  /** What hosts read of every snapshot there is. */
  async check(system: FleetSystem): Promise<void> {
    for (const { name } of system.group().snapshots.living) {
      const host = new TestHost(system, `g/v@${name}`);
      await system.until(() => host.session.admitsRead(0, sizeBytes));
      const read = await host.read(0, sizeBytes);
      host.close();
      ok(typeof read !== 'number', `${system.host} reads ${name}: ${String(read)}`);
      const isSame = this.contents.get(name)?.equals(read);
      ok(isSame, `${system.host}: ${name} is what the snapshot was made of`);
    }
  }

  /** All that is kept for snapshots is the same there, at the same addresses, maps included. */
  async checkSame(system: FleetSystem, primary: FleetSystem): Promise<void> {
    await system.caughtUp(primary);
    await primary.until(
      () => primary.group().watermarks.applied === primary.group().watermarks.newest,
    );
    deepStrictEqual(system.group().snapshots.list, primary.group().snapshots.list);
    for (const { name, areas } of primary.group().snapshots.list) {
      for (const { area } of areas) {
        const isSame = areaFile(system, area).equals(areaFile(primary, area));
        ok(isSame, `area ${area} of ${name} on ${system.host} is as on ${primary.host}`);
      }
    }
    await this.check(system);
  }
}

export function snapshotNamed(system: FleetSystem, name: string): CatalogSnapshot {
  const found = system.group().snapshots.living.find((snapshot) => snapshot.name === name);
  ok(found, `${system.host} has snapshot ${name}`);
  return found;
}

function areaFile(system: FleetSystem, area: number): Buffer {
  const path = system.system.filesOf(system.group()).volume(area);
  const file = system.disk.openSync(path, 'read', 'volume');
  try {
    const bytes = Buffer.alloc(file.sizeSync());
    file.readSync(bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    file.closeSync();
  }
}
