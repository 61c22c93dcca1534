import { strict as assert } from 'node:assert';
import type { GroupSettings } from '../../../src/group/catalog/new-group.ts';
import { isHidden } from '../../../src/group/catalog/snapshots.ts';
import { SnapshotContents } from '../../../src/group/snapshots/snapshot-contents.ts';
import {
  createHiddenSnapshot,
  createSnapshot,
  deleteHiddenSnapshot,
  deleteSnapshot,
} from '../../../src/group/volumes/snapshot-changes.ts';
import { must } from '../../../src/platform/assert.ts';
import { blockBytes, KiB } from '../../../src/platform/limits.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import type { SimulatedDiskOptions } from '../../simulation/simulated-disk.ts';

/** A snapshot as the model knows it. */
interface KnownSnapshot {
  readonly name: string;
  readonly number: number;
}

interface KnownVolume {
  readonly name: string;
  readonly sizeBytes: number;
}

const unitBytes = 256 * KiB;

/** A group whose volumes and snapshots must read what its records say, whatever happens to its daemon. */
export class SnapshotModel {
  readonly machine: SimulatedMachine;
  readonly history = new History();
  readonly volumes: readonly KnownVolume[];
  snapshots: KnownSnapshot[] = [];
  /** Numbers of those that were made to compare. */
  hidden: number[] = [];
  #hosts = new Map<string, TestHost>();
  #made = 0;

  constructor(
    seed: number | string,
    volumes: readonly KnownVolume[],
    options: Partial<SimulatedDiskOptions> = {},
  ) {
    this.machine = new SimulatedMachine(seed, options);
    this.volumes = volumes;
  }

  async start(settings: GroupSettings = {}): Promise<void> {
    await this.machine.start();
    await this.machine.createGroup(settings);
    for (const { name, sizeBytes } of this.volumes)
      await this.machine.createVolume(name, sizeBytes);
  }

  /** Of a volume, or a snapshot of it. */
  host(name: string): TestHost {
    const known = this.#hosts.get(name);
    if (known) return known;
    const host = new TestHost(this.machine, `g/${name}`, this.history);
    this.#hosts.set(name, host);
    return host;
  }

  close(name: string): void {
    this.#hosts.get(name)?.close();
    this.#hosts.delete(name);
  }

  /** What was opened belongs to a daemon that is gone. */
  forgetHosts(): void {
    this.#hosts = new Map();
  }

  /** Several hosts write to few blocks at the same time, and others read snapshots. */
  async burst(): Promise<void> {
    const { random } = this.machine;
    const volume = random.pick(this.volumes);
    const first = random.int(volume.sizeBytes / blockBytes - 4) * blockBytes;
    const works = Array.from({ length: random.between(2, 12) }, (_, at) =>
      random.chance(0.3) ? this.#readNear(at, volume, first) : this.#writeNear(at, volume, first),
    );
    await this.machine.run(Promise.all(works));
  }

  async #writeNear(at: number, { name }: KnownVolume, first: number): Promise<void> {
    const { random } = this.machine;
    const offset = first + random.int(24) * 512;
    const host = new TestHost(this.machine, `g/${name}`, this.history);
    const number = await host.write(offset, random.bytes(random.between(1, 8) * 512));
    host.close();
    assert.ok(number > 0, `write ${at}: ${number}`);
  }

  async #readNear(at: number, volume: KnownVolume, first: number): Promise<void> {
    if (this.snapshots.length === 0) return;
    const { name, number } = this.machine.random.pick(this.snapshots);
    const what = `${volume.name}@${name}`;
    const host = new TestHost(this.machine, `g/${what}`);
    const length = Math.min(5 * blockBytes, volume.sizeBytes - first);
    await this.machine.until(() => host.session.admitsRead(first, length));
    const found = await host.read(first, length);
    host.close();
    assert.ok(Buffer.isBuffer(found), `read ${at} of ${what}: ${String(found)}`);
    this.#compare(volume, number, what, first, found);
  }

  async write(): Promise<void> {
    const { random } = this.machine;
    const { name, sizeBytes } = random.pick(this.volumes);
    const length = random.chance(0.5) ? blockBytes : random.between(1, 128) * 512;
    const offset = random.int((sizeBytes - length) / 512 + 1) * 512;
    const at = random.chance(0.5) ? offset - (offset % blockBytes) : offset;
    const bytes = random.chance(0.1) ? new Uint8Array(length) : random.bytes(length);
    const number = await this.host(name).write(at, bytes);
    assert.ok(number > 0, `written: ${number}`);
  }

  /** `isOneRecord`: of a range that is numbered as a whole. */
  async clear(isOneRecord: boolean): Promise<void> {
    const { random } = this.machine;
    const { name, sizeBytes } = random.pick(this.volumes);
    const start = random.int(sizeBytes / 512) * 512;
    const end = isOneRecord ? Math.floor(start / unitBytes + 1) * unitBytes : sizeBytes;
    const length = random.between(1, Math.floor((Math.min(end, sizeBytes) - start) / 512)) * 512;
    const number = await this.host(name).clear(random.pick(['zero', 'hole']), start, length);
    assert.ok(number > 0, `cleared: ${number}`);
  }

  /** What it left is taken for what it did. */
  async trim(): Promise<void> {
    const { random } = this.machine;
    const { name, sizeBytes } = random.pick(this.volumes);
    const start = random.int(sizeBytes / 512) * 512;
    const length = random.between(1, (sizeBytes - start) / 512) * 512;
    const before = await this.#read(name, start, length);
    const host = new TestHost(this.machine, `g/${name}`);
    const from = this.machine.group().watermarks.newest;
    const number = await host.clear('trim', start, length);
    host.close();
    assert.ok(number >= from, `trimmed: ${number}`);
    const after = await this.#read(name, start, length);
    for (let at = 0; at < length; at += 512) {
      const now = after.subarray(at, at + 512);
      const isKept = now.equals(before.subarray(at, at + 512));
      assert.ok(isKept || now.every((byte) => byte === 0), `${name} at ${start + at} after a TRIM`);
    }
    if (number === from) return;
    this.history.add({ number, export: `g/${name}`, offset: start, length, bytes: after });
  }

  async create(): Promise<void> {
    const { machine } = this;
    const group = machine.group();
    this.#made += 1;
    const name = `s${this.#made}`;
    const files = machine.system.filesOf(group);
    const { snapshot } = await machine.run(createSnapshot(machine.disk, group, files, name));
    this.snapshots.push({ name, number: snapshot.number });
  }

  async delete(name?: string): Promise<void> {
    const { machine } = this;
    if (this.snapshots.length === 0) return;
    const named = this.snapshots.findIndex((snapshot) => snapshot.name === name);
    const at = named >= 0 ? named : machine.random.int(this.snapshots.length);
    const [gone] = this.snapshots.splice(at, 1);
    const deleted = must(gone, 'there is one').name;
    for (const volume of this.volumes) this.close(`${volume.name}@${deleted}`);
    assert.equal(await machine.run(deleteSnapshot(machine.group(), deleted)), true);
  }

  async createHidden(): Promise<void> {
    const { machine } = this;
    const group = machine.group();
    const files = machine.system.filesOf(group);
    const { number } = await machine.run(createHiddenSnapshot(machine.disk, group, files));
    this.hidden.push(number);
  }

  async deleteHidden(): Promise<void> {
    const { machine } = this;
    const [gone] = this.hidden.splice(machine.random.int(this.hidden.length), 1);
    if (gone === undefined) return;
    assert.equal(await machine.run(deleteHiddenSnapshot(machine.group(), gone)), true);
    const { list } = machine.group().snapshots;
    assert.ok(!list.some(({ number }) => number === gone), `${gone} leaves nothing`);
  }

  /** As systems do that compare. */
  async readHidden(): Promise<void> {
    const { machine } = this;
    for (const number of this.hidden) {
      for (const volume of this.volumes) {
        const { sizeBytes, name } = volume;
        const { catalog } = must(machine.group().volumes.get(name), 'it is there');
        const contents = SnapshotContents.find(machine.group(), number, catalog.id);
        const bytes = Buffer.alloc(sizeBytes);
        const zeroes = contents.zeroesThrough(0, sizeBytes);
        await machine.run(contents.read(0, sizeBytes, bytes));
        this.#compare(volume, number, `${name} as of ${number}`, 0, bytes);
        assert.ok(
          bytes.subarray(0, zeroes).every((byte) => byte === 0),
          `${name} as of ${number} is zero up to ${zeroes}`,
        );
      }
    }
  }

  async flush(): Promise<void> {
    for (const { name } of this.volumes) assert.equal(await this.host(name).flush(), true);
  }

  /** Part of a snapshot, or all of it. */
  async readSnapshot(isWhole = false): Promise<void> {
    if (this.snapshots.length === 0) return;
    const { random } = this.machine;
    const { name, number } = random.pick(this.snapshots);
    const volume = random.pick(this.volumes);
    const offset = isWhole ? 0 : random.int(volume.sizeBytes / 512) * 512;
    const rest = (volume.sizeBytes - offset) / 512;
    const length = isWhole ? volume.sizeBytes : random.between(1, Math.min(rest, 512)) * 512;
    const found = await this.#read(`${volume.name}@${name}`, offset, length);
    this.#compare(volume, number, `${volume.name}@${name}`, offset, found);
  }

  /** Everything that can be read is what it must be. */
  async checkAll(): Promise<void> {
    const { newest } = this.machine.group().watermarks;
    for (const volume of this.volumes) {
      const found = await this.#read(volume.name, 0, volume.sizeBytes);
      this.#compare(volume, newest, volume.name, 0, found);
      for (const { name, number } of this.snapshots) {
        const read = await this.#read(`${volume.name}@${name}`, 0, volume.sizeBytes);
        this.#compare(volume, number, `${volume.name}@${name}`, 0, read);
      }
    }
    await this.readHidden();
    const { living } = this.machine.group().snapshots;
    const names = living.filter((each) => !isHidden(each)).map(({ name }) => name);
    assert.deepEqual(
      names,
      this.snapshots.map(({ name }) => name),
    );
  }

  /** No area of a deleted snapshot keeps what an older one has, too. How many blocks some do. */
  async checkReturned(): Promise<number> {
    await this.machine.pass(20_000);
    const { list } = this.machine.group().snapshots;
    const areaOf = (area: number) => this.machine.group().snapshots.areaOf(area);
    let kept = 0;
    for (const [at, { isDeleted, areas, name }] of list.entries()) {
      if (isDeleted !== true) continue;
      const from = list.slice(0, at).findLastIndex((each) => each.isDeleted !== true);
      for (const { volume, area } of areas) {
        const { map, file } = areaOf(area);
        const older = list
          .slice(from, at)
          .flatMap((each) => each.areas.filter((link) => link.volume === volume))
          .map((link) => areaOf(link.area).map);
        for (let block = map.next(true, 0, map.blocks); block < map.blocks; ) {
          const isThere = file.nextDataSync(block * blockBytes) === block * blockBytes;
          const isOlder = older.some((link) => link.has(block));
          assert.ok(!isThere || !isOlder, `${name} keeps block ${block}, which an older one has`);
          if (isThere) kept += 1;
          block = map.next(true, block + 1, map.blocks);
        }
      }
    }
    return kept;
  }

  /** After a power loss: what was made behind the newest update is gone, and what was deleted there is back. */
  forgetAfter(): void {
    const { watermarks, snapshots } = this.machine.group();
    this.history.forgetAfter(watermarks.newest);
    const { living } = snapshots;
    const shown = living.filter((each) => !isHidden(each));
    this.snapshots = shown.map(({ name, number }) => ({ name, number }));
    this.hidden = living.filter(isHidden).map(({ number }) => number);
  }

  async #read(name: string, offset: number, length: number): Promise<Buffer> {
    const host = this.host(name);
    await this.machine.until(() => host.session.admitsRead(offset, length));
    const found = await host.read(offset, length);
    assert.ok(Buffer.isBuffer(found), `${name}: ${String(found)} ${host.session.errorText}`);
    return found;
  }

  #compare(
    { name, sizeBytes }: KnownVolume,
    number: number,
    what: string,
    offset: number,
    found: Buffer,
  ): void {
    const all = this.history.contents(`g/${name}`, sizeBytes, number);
    const expected = all.subarray(offset, offset + found.length);
    if (expected.equals(found)) return;
    const at = expected.findIndex((byte, index) => byte !== found[index]);
    assert.fail(
      `${what} differs at ${offset + at} (block ${Math.floor((offset + at) / blockBytes)})`,
    );
  }
}
