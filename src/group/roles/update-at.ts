import { parseDuration } from '../../platform/duration-text.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, systemErrorCode } from '../../platform/errors.ts';
import { readUpdates } from '../../volume/replay.ts';
import type { Group } from '../order/group.ts';
import { positionOf } from '../catalog/lineage.ts';
import { segmentsBehind } from '../apply/segments-behind.ts';

/**
 * The update that the text means; of a time, the last one made until then. Rejects with state_refuses where
 * the group has no such generation there, or cannot tell.
 */
export async function updateAt(disk: Disk, group: Group, text: string): Promise<number> {
  if (text === 'latest') return group.watermarks.newest;
  const [, generation, number] = /^(?:(\d+):)?(\d+)$/.exec(text) ?? [];
  if (number !== undefined) {
    checkGeneration(group, Number(number), generation);
    return Number(number);
  }
  const age = text.startsWith('-') ? parseDuration(text.slice(1)) : undefined;
  const until = age === undefined ? Date.parse(text) : group.clock.wallMilliseconds() - age;
  return lastUntil(disk, group, until);
}

/** Unix milliseconds, of the primary of then, when the update was made; null: the journal does not tell. */
export async function timeOf(disk: Disk, group: Group, number: number): Promise<number | null> {
  const { chain, clock, watermarks } = group;
  const [segment] = segmentsBehind(chain, number - 1, number);
  if (!segment || number <= watermarks.released) return null;
  const { timeBaseMilliseconds } = segment.live.header;
  let time: number | null = null;
  segment.live.pins += 1;
  try {
    await readUpdates({ disk, clock }, [segment.scanned], number - 1, number, (header) => {
      time = timeBaseMilliseconds + header.timeMilliseconds;
    });
  } catch (error) {
    if (!(error instanceof JnbdError) && systemErrorCode(error) === undefined) throw error;
  } finally {
    segment.live.pins -= 1;
  }
  return time;
}

function checkGeneration(
  { name, catalog }: Group,
  number: number,
  wanted: string | undefined,
): void {
  const { generation } = positionOf(catalog.lineage, number);
  if (wanted === undefined || generation === Number(wanted)) return;
  throw new JnbdError(
    'state_refuses',
    `update ${number} of group ${name} is of generation ${generation} here, not ${wanted}`,
  );
}

/** Looked for among updates that are not applied, and the last one that is. */
async function lastUntil(disk: Disk, group: Group, until: number): Promise<number> {
  const { chain, clock, watermarks, name } = group;
  const { released, applied, durable } = watermarks;
  const from = Math.max(released, applied - 1);
  let last = from;
  let isKnown = false;
  for (const segment of segmentsBehind(chain, from, durable)) {
    const { timeBaseMilliseconds } = segment.live.header;
    const through = Math.min(durable, segment.lastNumber);
    const before = last;
    segment.live.pins += 1;
    try {
      await readUpdates({ disk, clock }, [segment.scanned], before, through, (header) => {
        if (timeBaseMilliseconds + header.timeMilliseconds > until) return;
        isKnown = true;
        last = header.number;
      });
    } finally {
      segment.live.pins -= 1;
    }
    if (last < through) break;
  }
  if (isKnown && last >= applied) return last;
  throw new JnbdError(
    'state_refuses',
    `group ${name} has in its volumes what is later than ${new Date(until).toISOString()}`,
  );
}
