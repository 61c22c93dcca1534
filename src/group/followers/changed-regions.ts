import { assert } from '../../platform/assert.ts';
import { JnbdError } from '../../platform/errors.ts';
import { RegionSet } from '../../volume/region-set.ts';
import type { RegionAnswer } from '../../volume/region-work.ts';
import type { MappedGroup } from './follower-holds.ts';
import {
  type ChosenSegment,
  findPinned,
  scannedSegmentsMax,
  segmentsBehind,
} from '../apply/segments-behind.ts';

type ScannedGroup = Pick<MappedGroup, 'name' | 'chain' | 'watermarks' | 'driver' | 'applyState'>;

/**
 * What updates from + 1 to `through` of a group's own journal changed, all of them durable. Rejects with
 * JnbdError: position_released, record_unreadable, state_refuses (the group is being closed).
 */
export async function regionsChanged(
  group: ScannedGroup,
  from: number,
  through: number,
): Promise<RegionSet> {
  const { chain, watermarks, name } = group;
  assert(through <= watermarks.durable, `update ${through} of group ${name} is durable`);
  const regions = new RegionSet();
  for (let done = from; done < through; ) {
    if (done < watermarks.released) {
      throw new JnbdError(
        'position_released',
        `group ${name} has released updates up to ${watermarks.released}; which regions those behind ${from} changed is not known`,
      );
    }
    const segments = segmentsBehind(chain, done, through).slice(0, scannedSegmentsMax);
    const to = Math.min(through, segments.at(-1)?.lastNumber ?? 0);
    if (to <= done) throw unreadable(group, `update ${done + 1} is in no segment`);
    regions.addAll(await scan(group, segments, done, to));
    done = to;
  }
  return regions;
}

async function scan(
  group: ScannedGroup,
  segments: readonly ChosenSegment[],
  from: number,
  through: number,
): Promise<RegionSet> {
  if (group.applyState === 'closed') throw closing(group);
  const scanned = segments.map((segment) => segment.scanned);
  const work = { kind: 'scan', segments: scanned, from, through } as const;
  const answer = await new Promise<RegionAnswer | undefined>((resolve) => {
    findPinned(group.driver, segments, work, resolve);
  });
  if (!answer) throw closing(group);
  if (answer.kind === 'scanned') return RegionSet.decode(answer.regions, 'what the worker found');
  throw unreadable(group, answer.kind === 'region_failure' ? answer.failure.message : answer.kind);
}

function closing({ name }: ScannedGroup): JnbdError {
  return new JnbdError('state_refuses', `group ${name} is being closed`);
}

function unreadable({ name }: ScannedGroup, why: string): JnbdError {
  return new JnbdError(
    'record_unreadable',
    `which regions updates of group ${name} changed cannot be read from its journal: ${why}`,
  );
}
