import { expect, test } from 'vitest';
import { MiB } from '../../src/platform/limits.ts';
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

test.skipIf(!tellsWhatIsCached)(
  'of segments that only the past needs, those that a recovery would read stay in memory',
  () => {
    const payloads = new JournalPayloads(disk);
    const segments = [1, 2, 3].map((sequence) => {
      const path = newPath();
      const file = open(path, 'create', 'segment');
      file.writeSync(pattern(MiB), 0, MiB, 0);
      file.dataSyncSync();
      return { sequence, path, file, direct: false, lastNumber: 10 * sequence, isPast: true };
    });
    const slab = new Uint8Array(4096);
    // Asking for what is not there makes the kernel read it: of each segment that is asked once.
    const inMemory = (sequences: number[]): number[] =>
      segments
        .filter(({ sequence }) => sequences.includes(sequence))
        .filter(({ file }) => file.readIfCachedSync(slab, 0, 4096, MiB - 4096) === 4096)
        .map(({ sequence }) => sequence);
    for (const segment of segments) {
      payloads.read(segment, undefined, slab, 0, 4096, 0);
      if (segment.sequence !== 2) payloads.isPast(segment);
    }
    payloads.letGo(1);
    expect(inMemory([1, 2, 3])).toEqual([1, 2, 3]);
    payloads.letGo(3);
    expect(inMemory([2, 3])).toEqual([2, 3]);
    payloads.letGo(4);
    expect(inMemory([1, 2, 3])).toEqual([2]);
    payloads.close();
  },
);
