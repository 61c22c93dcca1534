import { parseDuration } from '../../platform/duration-text.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, systemErrorCode } from '../../platform/errors.ts';
import { readUpdates } from '../../volume/replay.ts';
import type { Group } from '../order/group.ts';
import { namedPosition } from '../../platform/position-text.ts';
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
  const until = momentOf(group, text) ?? Number.NaN;
  const { released, applied } = group.watermarks;
  const last = await lastMadeUntil(disk, group, until, Math.max(released, applied - 1));
  if (last !== undefined && last >= applied) return last;
  throw new JnbdError(
    'state_refuses',
    `group ${group.name} has in its volumes what is later than ${new Date(until).toISOString()}`,
  );
}

/**
 * As `updateAt`, of the whole history, and `snapshot:NAME` and `marker:NAME` too. Rejects with snapshot_not_found,
 * marker_not_found where there is none of that name.
 */
export async function pastUpdateAt(disk: Disk, group: Group, text: string): Promise<number> {
  const { kind, name } = namedPosition.exec(text)?.groups ?? {};
  if (name !== undefined) return numberOf(group, kind ?? '', name);
  const until = momentOf(group, text);
  const { bases } = group.views.history;
  const base = bases.findLast(({ atMilliseconds }) => atMilliseconds <= (until ?? 0));
  if (until === undefined) return updateAt(disk, group, text);
  if (bases.length === 0) return updateWithoutHistory(disk, group, text);
  const from = base ?? bases[0];
  const last = await lastMadeUntil(disk, group, until, from?.number ?? 0);
  if (last !== undefined) return last;
  if (base) return Math.max(base.number, base.from);
  const begun = new Date(from?.atMilliseconds ?? 0).toISOString();
  throw new JnbdError('state_refuses', `the history of group ${group.name} begins at ${begun}`);
}

async function updateWithoutHistory(disk: Disk, group: Group, text: string): Promise<number> {
  try {
    return await updateAt(disk, group, text);
  } catch (cause) {
    if (!(cause instanceof JnbdError) || cause.code !== 'state_refuses') throw cause;
    const advice = `its past is kept from when that is asked for: jnbd group configure ${group.name} --history 24h`;
    throw new JnbdError('state_refuses', `${cause.message}; ${advice}`, { cause });
  }
}

function numberOf(
  { name: group, snapshots, cuts, watermarks }: Group,
  kind: string,
  name: string,
): number {
  const number =
    kind === 'snapshot'
      ? snapshots.living.find((snapshot) => snapshot.name === name)?.number
      : cuts.records.named(name, watermarks.durable);
  if (number !== undefined) return number;
  const code = kind === 'snapshot' ? 'snapshot_not_found' : 'marker_not_found';
  throw new JnbdError(code, `group ${group} has no ${kind} ${name}`);
}

/** Unix milliseconds; undefined: it is no time. */
function momentOf({ clock }: Group, text: string): number | undefined {
  if (text === 'latest' || /^(?:\d+:)?\d+$/.test(text)) return undefined;
  const age = text.startsWith('-') ? parseDuration(text.slice(1)) : undefined;
  return age === undefined ? Date.parse(text) : clock.wallMilliseconds() - age;
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

/** Looked for among updates behind `from`; undefined: all of them were made later. */
async function lastMadeUntil(
  disk: Disk,
  group: Group,
  until: number,
  from: number,
): Promise<number | undefined> {
  const { chain, clock, watermarks } = group;
  const { durable } = watermarks;
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
  return isKnown ? last : undefined;
}
