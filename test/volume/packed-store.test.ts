import { expect, test } from 'vitest';
import { PackedStore, placeBytes } from '../../src/volume/packed-store.ts';
import { contentsPath, placesPath } from '../../src/volume/preserved-files.ts';
import { SimulatedMachine } from '../journal/simulated-system.ts';

const block = 4096;

test.each([
  ['in the page cache', 0],
  ['in the page cache in part', 0.5],
  ['not in the page cache', 1],
])(
  'blocks that are %s stand one behind the other, zeroes take none, and what failed counts no more',
  (_, cacheMissChance) => {
    const { disk } = new SimulatedMachine('packed', { cacheMissChance });
    disk.makeDirectorySync('/base');
    const volume = disk.openSync('/volume', 'create', 'volume');
    volume.truncateSync(100 * block + 512);
    for (const at of [3, 4, 9, 100])
      volume.writeSync(
        Buffer.alloc(at === 100 ? 512 : block, at),
        0,
        at === 100 ? 512 : block,
        at * block,
      );
    const store = new PackedStore(disk, '/base', 7);
    store.copy(
      volume,
      [95, 96, 9, 10].map((at) => at * block),
    );
    // Something went wrong before it was synced.
    const runs = [3, 6, 20, 90, 100].map((at) => at * block);
    store.copy(volume, [...runs, 100 * block + 512]);
    store.sync();
    store.close();
    const again = new PackedStore(disk, '/base', 7);
    again.copy(volume, [9 * block, 10 * block]);
    again.sync();
    again.close();
    const file = disk.openSync(placesPath('/base', 7), 'read', 'volume');
    const places = new Float64Array(file.sizeSync() / 8);
    file.readSync(new Uint8Array(places.buffer), 0, places.byteLength, 0);
    expect(places.byteLength % placeBytes).toBe(0);
    const known = new Map<number, number>();
    for (let at = 0; at < places.length; at += 2) known.set(places[at] ?? 0, places[at + 1] ?? 0);
    const contents = disk.openSync(contentsPath('/base', 7), 'read', 'volume');
    for (const each of [3, 4, 9, 20, 89, 100]) {
      const place = known.get(each) ?? Number.NaN;
      const expected = Buffer.alloc(block);
      volume.readSync(expected, 0, Math.min(block, volume.sizeSync() - each * block), each * block);
      const found = Buffer.alloc(block);
      if (place >= 0) contents.readSync(found, 0, block, place * block);
      expect(place >= 0).toBe(expected.some((byte) => byte !== 0));
      expect(found.equals(expected)).toBe(true);
    }
    expect(known.has(95)).toBe(false);
  },
);
