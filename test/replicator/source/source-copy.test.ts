import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import { Collector } from '../protocol/frame-collector.ts';
import { SourceSetting } from './source-setting.ts';
import { type ReadResult, TestReader } from './test-reader.ts';

const sizes = { v: 3 * MiB + 512 * 7, w: 2 * MiB } as const;
type Name = keyof typeof sizes;
const names: readonly Name[] = ['v', 'w'];

interface Copying {
  readonly machine: SimulatedMachine;
  readonly source: SourceSetting;
  readonly history: History;
  hosts: Record<Name, TestHost>;
  readonly reader: TestReader;
}

function openHosts(machine: SimulatedMachine, history: History): Record<Name, TestHost> {
  return {
    v: new TestHost(machine, 'g/v', history),
    w: new TestHost(machine, 'g/w', history),
  };
}

function idOf(machine: SimulatedMachine, name: Name): number {
  return must(machine.group().volumes.get(name), `volume ${name} is there`).catalog.id;
}

/** Writes a few things anywhere. */
async function write({ machine, hosts }: Copying, count: number): Promise<void> {
  const { random } = machine;
  for (let i = 0; i < count; i += 1) {
    const name = random.pick(names);
    const bytes = random.pick([512, 4096, 40 * KiB, 150 * KiB]);
    const offset = random.int((sizes[name] - bytes) / 512) * 512;
    if (random.chance(0.25)) {
      const length = random.pick([4096, 64 * KiB, 700 * KiB]);
      const start = random.int((sizes[name] - length) / 512) * 512;
      await hosts[name].clear(random.pick(['zero', 'hole']), start, length);
    } else {
      await hosts[name].write(offset, random.bytes(bytes));
    }
  }
}

/** Two volumes with contents, and a follower that begins with nothing. */
async function copying(seed: number | string, writes = 60): Promise<Copying> {
  const machine = new SimulatedMachine(seed, { cacheMissChance: 0.1 });
  await machine.start();
  await machine.createGroup({ journalCapacityBytes: 256 * MiB });
  for (const name of names) await machine.createVolume(name, sizes[name]);
  const history = new History();
  const source = new SourceSetting(machine);
  await source.start();
  const hosts = openHosts(machine, history);
  const all = { machine, source, history, hosts, reader: new TestReader(source, 7) };
  await write(all, writes);
  await hosts.v.flush();
  await machine.pass(machine.random.int(2000));
  begin(all);
  await machine.pass(2);
  return all;
}

function begin({ machine, reader }: Copying): void {
  const { applied } = machine.group().watermarks;
  machine.group().followers.register(7, 'reader', applied);
  reader.beginAt(applied);
  for (const name of names) {
    reader.images.set(idOf(machine, name), Buffer.alloc(sizes[name]));
    reader.copied.set(idOf(machine, name), 0);
  }
}

/** Drops a volume from what is asked for when all of it is there. */
function finish({ machine, reader }: Copying): boolean {
  for (const name of names) {
    const id = idOf(machine, name);
    if (reader.copied.get(id) === sizes[name]) reader.copied.delete(id);
  }
  return reader.copied.size === 0;
}

function compare({ machine, history, reader }: Copying): void {
  expect(reader.number).toBeGreaterThanOrEqual(reader.shows);
  for (const name of names) {
    const image = must(reader.images.get(idOf(machine, name)), 'the volume was copied');
    const expected = history.contents(`g/${name}`, sizes[name], reader.number);
    expect(image.equals(expected), `volume ${name} at ${reader.number}`).toBe(true);
  }
}

describe('contents of volumes', () => {
  test('with the records behind them are the volumes, whatever is written meanwhile', async () => {
    for (let seed = 0; seed < 25; seed += 1) {
      const all = await copying(`copy ${seed}`);
      const { machine, hosts, reader } = all;
      const { random } = machine;
      for (let reads = 0; !finish(all); reads += 1) {
        expect(reads).toBeLessThan(1000);
        if (random.chance(0.5)) await write(all, random.int(6));
        if (random.chance(0.2)) await hosts.v.flush();
        if (random.chance(0.3)) machine.group().hurryApply();
        const batchBytes = random.pick([64 * KiB, 300 * KiB, 1 * MiB]);
        const result = await reader.read({ batchBytes, waitMilliseconds: random.int(300) });
        expect(result.kind).not.toBe('problem');
        const isTooFar = reader.number > machine.group().watermarks.applied;
        expect(isTooFar && reader.copied.size > 0).toBe(false);
      }
      await hosts.v.flush();
      // It is a volume as it was as soon as everything that contents could show is there.
      while (reader.number < reader.shows) {
        await reader.read({ batchBytes: 64 * KiB, waitMilliseconds: 100 });
      }
      compare(all);
      await reader.drain();
      compare(all);
      await machine.pass(5);
      expect(machine.group().followers.find(7)?.state).toBe('following');
    }
  });

  test('go on from what is durable at the follower when either side starts again', async () => {
    for (let seed = 0; seed < 12; seed += 1) {
      const all = await copying(`again ${seed}`);
      const { machine, source, history, reader } = all;
      const { random } = machine;
      let durable = new Map(reader.copied);
      const results: ReadResult[] = [];
      for (let reads = 0; !finish(all); reads += 1) {
        expect(reads).toBeLessThan(1000);
        await write(all, random.int(4));
        const options = { batchBytes: 200 * KiB, waitMilliseconds: 300 };
        if (random.chance(0.2)) {
          // An answer that never came, or a follower that lost what was not synced.
          if (random.chance(0.5)) reader.ask(options).leave();
          for (const [volume, address] of durable) {
            if (reader.copied.has(volume)) reader.copied.set(volume, address);
          }
          results.push(await reader.read({ ...options, isRetry: true }));
        } else if (random.chance(0.1)) {
          source.end();
          machine[random.pick(['kill', 'losePower'] as const)]();
          await machine.start();
          all.hosts = openHosts(machine, history);
          history.forgetAfter(machine.group().watermarks.newest);
          await source.start();
          await machine.pass(2);
          for (const [volume, address] of durable) {
            if (reader.copied.has(volume)) reader.copied.set(volume, address);
          }
          results.push(await reader.read({ ...options, isRetry: true }));
        } else {
          results.push(await reader.read(options));
          if (random.chance(0.5)) durable = new Map(reader.copied);
        }
      }
      expect(results.filter(({ kind }) => kind === 'problem')).toEqual([]);
      await all.hosts.v.flush();
      await reader.drain();
      compare(all);
    }
  });

  test('say up to which number they could show, also one that the worker has not heard of', async () => {
    const all = await copying('shows', 200);
    const { machine, hosts, reader } = all;
    await reader.read({ batchBytes: 64 * KiB, waitMilliseconds: 1000 });
    let told = 0;
    for (let i = 0; i < 20 && told < 5; i += 1) {
      const before = machine.clock.monotonicMilliseconds();
      const number = await hosts.v.write(machine.random.int(100) * 4096, new Uint8Array(4096));
      await hosts.v.flush();
      machine.group().hurryApply();
      await machine.until(() => machine.group().watermarks.applied >= number);
      const isUnheardOf = machine.clock.monotonicMilliseconds() - before < 40;
      reader.shows = 0;
      const result = await reader.read({ batchBytes: 64 * KiB });
      if (result.kind !== 'records' || reader.shows === 0 || !isUnheardOf) continue;
      if (result.answer.watermarks.durable < number) told += 1;
      expect(reader.shows).toBeGreaterThanOrEqual(number);
    }
    expect(told).toBeGreaterThan(0);
  });

  test('of volumes with nothing in them are holes, and cost nothing', async () => {
    const machine = new SimulatedMachine('holes');
    await machine.start();
    await machine.createGroup();
    await machine.createVolume('v', 64 * 1024 * MiB);
    const source = new SourceSetting(machine);
    await source.start();
    const { applied } = machine.group().watermarks;
    machine.group().followers.register(7, 'reader', applied);
    await machine.pass(2);
    const reader = new TestReader(source, 7);
    reader.beginAt(applied);
    reader.copied.set(1, 0);
    reader.images.set(1, Buffer.alloc(0));
    const lengths: number[] = [];
    for (let i = 0; i < 10 && lengths.length < 1; i += 1) {
      const answer = reader.ask({ waitMilliseconds: 1000 });
      await machine.until(() => answer.isDone);
      const collector = new Collector();
      new FrameDecoder(collector).decode(answer.body);
      for (const frame of collector.frames) {
        if (frame.kind === 'copy') lengths.push(frame.header.length, answer.body.length);
        if (frame.kind === 'records') reader.beginAt(frame.header.last);
      }
    }
    expect(lengths[0]).toBe(64 * 1024 * MiB);
    expect(lengths[1]).toBeLessThan(200);
  });

  test('come no faster than they may, and records are not held up by that', async () => {
    const all = await copying('rate');
    const { machine, hosts, reader } = all;
    for (const name of names) {
      for (let at = 0; at < sizes[name]; at += 128 * KiB) {
        const bytes = Math.min(128 * KiB, sizes[name] - at);
        await hosts[name].write(at, machine.random.bytes(bytes));
      }
    }
    const { changes, catalog } = machine.group();
    const rate = 512 * KiB;
    changes.replace({ ...catalog, copyBytesPerSecond: rate });
    machine.group().changed();
    await machine.pass(2);
    const began = machine.clock.monotonicMilliseconds();
    while (!finish(all)) {
      await hosts.v.write(machine.random.int(100) * 4096, machine.random.bytes(4096));
      await hosts.v.flush();
      machine.group().hurryApply();
      const { number } = reader;
      await reader.read({ waitMilliseconds: 500 });
      expect(reader.number > number || reader.copied.size > 0).toBe(true);
    }
    const seconds = (machine.clock.monotonicMilliseconds() - began) / 1000;
    expect(reader.copyBytes).toBeGreaterThan(3 * MiB);
    const allowed = (reader.copyBytes - 2 * MiB) / rate;
    expect(seconds).toBeGreaterThan(allowed);
    expect(seconds).toBeLessThan(3 * (reader.copyBytes / rate));
    await hosts.v.flush();
    await reader.drain();
    compare(all);
  });

  test('are not sent of a volume that cannot be believed, nor read', async () => {
    const all = await copying('abnormal');
    const { machine, reader } = all;
    const volume = must(machine.group().volumes.get('w'), 'it is there');
    volume.become('abnormal', 'a test says so');
    machine.group().changed();
    await machine.pass(2);
    const id = idOf(machine, 'w');
    for (let i = 0; i < 20; i += 1) await reader.read({ waitMilliseconds: 100 });
    expect(reader.copied.get(idOf(machine, 'v'))).toBe(sizes.v);
    expect(reader.copied.get(id)).toBe(0);
    volume.become('normal');
    machine.group().changed();
    const path = volume.backingFile;
    machine.machine.faults.add({ kind: 'read_error', operation: 'read', path });
    await machine.pass(2);
    reader.copied.delete(idOf(machine, 'v'));
    let result = await reader.read({ waitMilliseconds: 100 });
    for (let i = 0; i < 100 && result.kind !== 'problem'; i += 1) {
      result = await reader.read({ waitMilliseconds: 100, isRetry: true });
      reader.copied.set(id, 0);
    }
    expect(result).toMatchObject({ code: 'volume_unreadable' });
    machine.machine.faults.clear();
    while (!finish(all)) await reader.read({ waitMilliseconds: 100, isRetry: true });
  });
});
