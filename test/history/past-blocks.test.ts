import { expect, test } from 'vitest';
import { BaseFiles } from '../../src/history/base-files.ts';
import { PastBlocks } from '../../src/history/past-blocks.ts';
import { placeBytes } from '../../src/volume/packed-store.ts';
import { contentsPath, placesPath } from '../../src/volume/preserved-files.ts';
import { SimulatedMachine } from '../journal/simulated-system.ts';

test('a block is looked for in the base that had it, also where another one begins meanwhile', async () => {
  const machine = new SimulatedMachine('past blocks');
  const { disk } = machine;
  for (const directory of ['/one', '/two']) disk.makeDirectorySync(directory);
  const places = disk.openSync(placesPath('/one', 1), 'create', 'volume');
  disk.openSync(contentsPath('/one', 1), 'create', 'volume').closeSync();
  const file = disk.openSync('/volume', 'create', 'volume');
  const bits = { one: new Uint8Array(4096), two: new Uint8Array(4096) };
  const open = { directory: '/one', bits: () => bits.one };
  const blocks = new PastBlocks(new BaseFiles(disk), { id: 1, file }, [], open);
  const place = blocks.emptyPlace();
  blocks.load(5, () => undefined);
  expect(blocks.find(5, 6, place)).toBe(true);
  expect(place.isLive).toBe(true);
  // Its bit is there, and the read of places begins before its own is.
  bits.one[0] = 1 << 5;
  expect(blocks.find(5, 6, place)).toBe(false);
  let outcome: Error | null | undefined;
  blocks.load(5, (error) => {
    outcome = error;
  });
  places.writeSync(new Uint8Array(Float64Array.of(5, 0).buffer), 0, placeBytes, 0);
  blocks.baseBegan({ directory: '/two', bits: () => bits.two });
  await machine.until(() => outcome !== undefined);
  expect(outcome).toBeNull();
  expect(blocks.find(5, 6, place)).toBe(true);
  expect([place.isLive, place.position, place.file.path]).toEqual([
    false,
    0,
    contentsPath('/one', 1),
  ]);
});
