import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { RegionSet } from '../../../src/volume/region-set.ts';
import { compare, type Followed, followed } from './followed-system.ts';

const sizeBytes = 4 * MiB;
const volume = 1;
/** Of each write: a few dozen fill the journal. */
const writeBytes = 128 * KiB;

/** A reader that has everything, and then is left behind because the journal is full. */
async function leftBehind(seed: number | string): Promise<Followed> {
  const all = await followed(seed, { sizeBytes });
  const { setting, machine, reader } = all;
  await setting.writeMuch(machine.random.between(10, 60));
  await setting.flush();
  reader.images.set(volume, Buffer.alloc(sizeBytes));
  await reader.drain();
  await machine.pass(5);
  for (let rounds = 0; machine.group().followers.find(7)?.state !== 'behind'; rounds += 1) {
    expect(rounds).toBeLessThan(100);
    await setting.writeMuch(20, writeBytes);
  }
  return all;
}

/** What the source notes is what the reader wants, behind where it goes on from. */
async function goOn({ machine, reader }: Followed): Promise<void> {
  const group = machine.group();
  const { number } = reader;
  const known = must(
    await machine.run(group.followers.maps.regionsSince(7, number, group.catalog.number)),
    'there is a map',
  );
  expect(known.through).toBeGreaterThan(number);
  reader.ranges.addAll(known.regions);
  group.followers.register(7, 'reader', known.through);
  reader.beginAt(known.through);
  await machine.pass(2);
}

describe('parts of volumes', () => {
  test('bring a follower that was left behind back, whatever is written meanwhile', {
    timeout: 60_000,
  }, async () => {
    for (let seed = 0; seed < 5; seed += 1) {
      const all = await leftBehind(`ranges ${seed}`);
      const { machine, setting, reader, source } = all;
      const { random } = machine;
      // Some of what changed is in the journal still.
      await setting.writeMuch(random.int(40), random.pick([512, writeBytes]));
      await goOn(all);
      for (let reads = 0; !reader.ranges.isEmpty; reads += 1) {
        expect(reads).toBeLessThan(1000);
        await setting.writeMuch(random.int(6));
        if (random.chance(0.2)) await setting.flush();
        if (random.chance(0.3)) machine.group().hurryApply();
        if (random.chance(0.03)) {
          source.end();
          machine[random.pick(['kill', 'losePower'] as const)]();
          await machine.start();
          setting.reopen();
          setting.history.forgetAfter(machine.group().watermarks.newest);
          await source.start();
        }
        const batchBytes = random.pick([64 * KiB, 300 * KiB, 1 * MiB]);
        const result = await reader.read({ batchBytes, waitMilliseconds: random.int(300) });
        expect(result.kind).not.toBe('problem');
      }
      await setting.flush();
      while (reader.number < reader.shows) {
        await reader.read({ batchBytes: 64 * KiB, waitMilliseconds: 100 });
      }
      const image = must(reader.images.get(volume), 'the reader has the volume');
      const expected = setting.history.contents('g/v', sizeBytes, reader.number);
      expect(image.equals(expected), `volume at ${reader.number}, seed ${seed}`).toBe(true);
      await reader.drain();
      await machine.pass(5);
      expect(machine.group().followers.find(7)?.state).toBe('following');
    }
  });

  test('come in the order wanted, holes as holes, and not behind the end of the volume', async () => {
    const all = await followed('order', { sizeBytes });
    const { setting, machine, reader } = all;
    await setting.host.write(1 * MiB, Buffer.alloc(64 * KiB, 7));
    await setting.flush();
    machine.group().hurryApply();
    await machine.until(
      () => machine.group().watermarks.applied === machine.group().watermarks.newest,
    );
    await reader.drain();
    compare(all);
    reader.images.set(volume, Buffer.alloc(sizeBytes, 1));
    reader.ranges.add(volume, 512, 1 * MiB);
    reader.ranges.add(volume, 2 * MiB, 1 * MiB);
    reader.ranges.add(volume, sizeBytes - 4096, 8192);
    reader.ranges.add(9, 0, 4096);
    await reader.read({ waitMilliseconds: 100 });
    expect([...reader.ranges.ranges()]).toEqual([
      { volume, offset: sizeBytes, length: 4096 },
      { volume: 9, offset: 0, length: 4096 },
    ]);
    expect([reader.holes, reader.copyBytes]).toEqual([3, 512]);
    const image = must(reader.images.get(volume), 'it is there');
    expect([0, 512, 1 * MiB, 1 * MiB + 512, sizeBytes - 1].map((at) => image[at])).toEqual([
      1, 0, 7, 1, 0,
    ]);
    // Nothing of what is left can be given.
    expect(await reader.read({ waitMilliseconds: 10 })).toMatchObject({ kind: 'nothing' });
  });

  test('do not come before the follower knows the last change of the catalog', async () => {
    const { setting, machine, reader } = await followed('catalog', { sizeBytes });
    await setting.writeMuch(20);
    await setting.flush();
    await reader.drain();
    await machine.createVolume('w', 1 * MiB);
    machine.group().hurryApply();
    await machine.pass(1000);
    reader.images.set(volume, Buffer.alloc(sizeBytes));
    const ranges = [{ volume, offset: 0, length: 4096 }];
    const before = RegionSet.of(ranges);
    reader.ranges.addAll(before);
    await reader.read({ waitMilliseconds: 100 });
    expect(reader.ranges.count).toBe(1);
    await reader.read({ waitMilliseconds: 100 });
    expect(reader.ranges.isEmpty).toBe(true);
  });
});
