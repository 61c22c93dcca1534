/**
 * What a power loss may leave, against the history of the whole file: of each sector some version
 * since the last sync, of the size some value since then.
 */
import { expect, test } from 'vitest';
import type { DiskFile } from '../../src/platform/disk.ts';
import { create, newDisk, seeds } from './fresh-disk.ts';
import { SimulatedRandom } from './simulated-random.ts';

const fileBytesMax = 48 * 1024;

/** Bytes of the whole file, zero after its end, as of some moment. */
interface Version {
  readonly image: Uint8Array;
  readonly size: number;
}

function versionOf(file: DiskFile): Version {
  const image = new Uint8Array(fileBytesMax);
  return { image, size: file.readSync(image, 0, fileBytesMax, 0) };
}

function changeSomething(file: DiskFile, random: SimulatedRandom): void {
  const at = random.chance(0.5) ? random.int(10) * 4096 : random.int(fileBytesMax - 8000);
  const length = random.pick([0, 100, 512, 4096, 8000, random.int(8000)]);
  const what = random.int(10);
  if (what < 6) file.writeSync(random.bytes(length), 0, length, at);
  else if (what === 6) file.punchHoleSync(at, length);
  else if (what === 7) file.zeroRangeSync(at, length);
  else if (what === 8) file.preallocateSync(at, length);
  else file.truncateSync(at);
}

/** Sectors of which no version since the last sync had these contents, up to the size. */
function unknownSectors(left: Version, versions: readonly Version[]): number[] {
  const unknown: number[] = [];
  for (let start = 0; start < left.size; start += 512) {
    const end = Math.min(left.size, start + 512);
    const found = Buffer.from(left.image.subarray(start, end));
    // What is cut off by a truncation is zero after it, whatever it is that was cut.
    const cuts = versions.map(({ size }) => size - start).filter((cut) => cut > 0 && cut < 512);
    const isKnown = versions.some(({ image }) =>
      [512, ...cuts].some((cut) => found.equals(image.slice(start, end).fill(0, cut))),
    );
    if (!isKnown) unknown.push(start / 512);
  }
  return unknown;
}

test.each(seeds)(
  'every sector and the size are of some moment since the last sync (seed %i)',
  (seed) => {
    const machine = newDisk(seed, { delayMillisecondsMax: 5 });
    const random = new SimulatedRandom(`operations ${seed}`);
    let disk = machine.attach();
    let file = create(disk, '/x');
    for (let loss = 0; loss < 4; loss++) {
      const versions = [versionOf(file)];
      let covered = 0;
      for (let step = 0; step < 40; step++) {
        const now = versions.length - 1;
        const what = random.int(14);
        if (what < 10) changeSomething(file, random);
        else if (what === 10) {
          file.dataSyncSync();
          covered = now;
        } else if (what === 11) {
          file.dataSync(() => {
            covered = Math.max(covered, now);
          });
        } else machine.clock.step();
        versions.push(versionOf(file));
      }
      machine.powerLost();
      disk = machine.attach();
      file = disk.openSync('/x', 'read-write', 'volume');
      const left = versionOf(file);
      const allowed = versions.slice(covered);
      expect(unknownSectors(left, allowed)).toEqual([]);
      const sizes = allowed.map((version) => version.size);
      expect(left.size).toBeGreaterThanOrEqual(Math.min(...sizes));
      expect(left.size).toBeLessThanOrEqual(Math.max(...sizes));
      const direct = disk.allocateAligned(fileBytesMax);
      expect(file.readDirectSync(direct, 0, fileBytesMax, 0)).toBe(left.size);
      expect(Buffer.compare(direct, left.image)).toBe(0);
    }
  },
);
