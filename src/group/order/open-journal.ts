import type { HeadFile } from '../../journal/head.ts';
import { Journal } from '../../journal/journal.ts';
import type { JournalOwner } from '../../journal/journal-owner.ts';
import type { RetainedRuns } from '../../journal/retained-runs.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import type { Clock } from '../../platform/clock.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import type { GroupLimits } from './group-dependencies.ts';
import { relocator } from './recovery.ts';

interface JournaledGroup {
  readonly clock: Clock;
  readonly chain: SegmentChain;
  readonly retained: RetainedRuns;
  readonly watermarks: Watermarks;
  readonly index: BlockIndex;
  readonly storing: ReadonlySet<number>;
  readonly hosts: { wake(): void };
  readonly catalog: { readonly syncIntervalMilliseconds: number };
}

/** The journal of a group that begins to serve. */
export function openJournal(
  group: JournaledGroup,
  head: HeadFile,
  { unsyncedBytesMax }: GroupLimits,
  owner: Omit<JournalOwner, 'roomAppeared' | 'recordMoved'>,
): Journal {
  const { clock, chain, retained, watermarks, index, storing, hosts } = group;
  return new Journal(
    {
      clock,
      chain,
      retained,
      watermarks,
      head,
      owner: {
        ...owner,
        roomAppeared: () => hosts.wake(),
        recordMoved: relocator(index, storing),
      },
    },
    { unsyncedBytesMax, syncIntervalMilliseconds: group.catalog.syncIntervalMilliseconds },
  );
}
