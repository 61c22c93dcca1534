import { expect, test } from 'vitest';
import { KiB } from '../../src/platform/limits.ts';
import { JournalPayloads } from '../../src/volume/journal-payloads.ts';
import {
  disk,
  newPath,
  open,
  pattern,
  tellsWhatIsCached,
  useRealFiles,
} from '../platform/real-files.ts';

useRealFiles();

/** Soon done: what was not used for seconds may go by itself. */
const bytes = 64 * KiB;

test.skipIf(!tellsWhatIsCached)(
  'what is applied and nobody reads any more goes from memory, and the oldest in any case',
  () => {
    const payloads = new JournalPayloads(disk);
    const segments = Array.from({ length: 70 }, (_, at) => at + 1).map((sequence) => {
      const path = newPath();
      const file = open(path, 'create', 'segment');
      file.writeSync(pattern(bytes), 0, bytes, 0);
      file.dataSyncSync();
      return { sequence, path, file, direct: false, lastNumber: 10 * sequence, isWhole: true };
    });
    const slab = new Uint8Array(4096);
    // Asking for what is not there makes the kernel read it: of each segment that is asked once.
    const inMemory = (sequences: number[]): number[] =>
      segments
        .filter(({ sequence }) => sequences.includes(sequence))
        .filter(({ file }) => file.readIfCachedSync(slab, 0, 4096, bytes - 4096) === 4096)
        .map(({ sequence }) => sequence);
    const apply = (from: number, to: number): void => {
      for (const segment of segments.slice(from - 1, to)) {
        payloads.read(segment, undefined, slab, 0, 4096, 0);
        payloads.applied(segment);
      }
    };
    apply(1, 3);
    payloads.letGo(19);
    expect(inMemory([1, 2, 3])).toEqual([2, 3]);
    apply(4, 66);
    // Somebody is at 20 for long: of what was applied so many segments stay.
    payloads.letGo(20);
    expect(inMemory([2, 3, 4, 66])).toEqual([3, 4, 66]);
    apply(67, 70);
    payloads.letGo(20);
    expect(inMemory([5, 6, 7, 8])).toEqual([7, 8]);
    payloads.letGo(Infinity);
    expect(inMemory([9, 40, 70])).toEqual([]);
    payloads.close();
  },
);
