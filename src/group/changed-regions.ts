import type { LiveSegment, SegmentChain } from '../journal/segment-chain.ts';
import { assert } from '../platform/assert.ts';
import { JnbdError } from '../platform/errors.ts';
import type { ScannedSegment } from '../volume/region-scan.ts';
import { RegionSet } from '../volume/region-set.ts';
import type { Scanned } from './apply-driver.ts';
import type { Group } from './group.ts';

/** What is scanned at once: while the worker reads segments it applies nothing. */
const segmentsMax = 8;

/**
 * What updates from + 1 to `through` of a group's own journal changed, all of them durable. Rejects with
 * JnbdError: position_released, record_unreadable, state_refuses (the group is being closed).
 */
export async function regionsChanged(
  group: Group,
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
    const segments = segmentsBehind(chain, done, through).slice(0, segmentsMax);
    const to = Math.min(through, segments.at(-1)?.lastNumber ?? 0);
    if (to <= done) throw unreadable(group, `update ${done + 1} is in no segment`);
    regions.addAll(await scan(group, segments, done, to));
    done = to;
  }
  return regions;
}

interface ChosenSegment {
  readonly live: LiveSegment;
  readonly scanned: ScannedSegment;
  /** The highest number that counts in it. */
  readonly lastNumber: number;
}

/** In their order, those that hold any of these updates. */
export function segmentsBehind(
  chain: SegmentChain,
  from: number,
  through: number,
): readonly ChosenSegment[] {
  const live = [...chain.live()];
  const chosen: ChosenSegment[] = [];
  let endsBefore = Infinity;
  for (const segment of live.reverse()) {
    const lastNumber = Math.min(segment.lastNumber, endsBefore - 1);
    const isNeeded = lastNumber > from && segment.beginsAt <= through;
    if (isNeeded && segment.beginsAt < endsBefore) {
      const { file, header } = segment;
      const scanned = { path: file.path, salt: header.salt, endsBefore };
      chosen.unshift({ live: segment, scanned, lastNumber });
    }
    endsBefore = Math.min(endsBefore, segment.beginsAt);
  }
  return chosen;
}

async function scan(
  group: Group,
  segments: readonly ChosenSegment[],
  from: number,
  through: number,
): Promise<RegionSet> {
  if (group.applyState === 'closed') throw closing(group);
  for (const { live } of segments) live.pins += 1;
  const regions = await new Promise<Scanned>((resolve) => {
    const scanned = segments.map((segment) => segment.scanned);
    group.driver.scan(scanned, from, through, resolve);
  });
  for (const { live } of segments) live.pins -= 1;
  if (regions instanceof Uint8Array) return RegionSet.decode(regions, 'what the worker found');
  if (group.applyState === 'closed') throw closing(group);
  throw unreadable(group, regions.failure);
}

function closing({ name }: Group): JnbdError {
  return new JnbdError('state_refuses', `group ${name} is being closed`);
}

function unreadable({ name }: Group, why: string): JnbdError {
  return new JnbdError(
    'record_unreadable',
    `which regions updates of group ${name} changed cannot be read from its journal: ${why}`,
  );
}
