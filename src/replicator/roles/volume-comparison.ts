import type { CatalogVolume } from '../../group/catalog/catalog.ts';
import type { Group } from '../../group/order/group.ts';
import { addShown, type ShownContents } from '../../group/volumes/shown-contents.ts';
import { ownHashes } from '../../group/volumes/own-hashes.ts';
import type { Volume } from '../../group/apply/volume.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { KiB } from '../../platform/limits.ts';
import { RegionSet } from '../../volume/region-set.ts';
import { differingUnits, unitHashBytes, unitsIn } from '../../volume/unit-hashes.ts';
import {
  decodeHashAnswer,
  encodeHashRange,
  type HashAnswer,
  hashesPath,
  hashRangeBytesMax,
} from '../protocol/hash-wire.ts';
import type { TransportClient } from '../transport/transport.ts';
import { wholeAnswer } from '../transport/whole-answer.ts';
import { type Caller, encodeCaller } from '../protocol/wire.ts';
import { readProblem } from '../protocol/wire-json.ts';

export interface ComparisonDependencies {
  readonly client: TransportClient;
  readonly caller: Caller;
  readonly clock: Clock;
  /** Between two ranges: whether to go on. */
  readonly isWanted: () => boolean;
  /** So much more was compared. */
  readonly compared: (bytes: number) => void;
}

export interface Comparison {
  /** What is not the same here and there. Volumes, or parts of them, that are not here are not named. */
  readonly regions: RegionSet;
  /** Of what was found to be the same. */
  readonly contents: ShownContents;
}

/** A source that bounds its copies hashes as slowly as it copies. */
const limits = { headMilliseconds: 60_000, silenceMilliseconds: 20_000 };
const rangeBytesMin = 256 * KiB;
const attemptsMax = 10;
const attemptMilliseconds = 1000;

/**
 * Compares what stands in the group's volumes with what the source has in its own, by hashes, while the
 * source goes on. Volumes here hold what one update number says, or anything; nothing is written to them
 * meanwhile but what their own journal has. What is the same at some time was as the source had it then,
 * and records behind the registration's number come on top, so when what `contents` shows is applied
 * it is what the source had at that number. Rejects with JnbdError.
 */
export async function compareVolumes(
  group: Group,
  there: readonly CatalogVolume[],
  deps: ComparisonDependencies,
): Promise<Comparison> {
  const regions = new RegionSet();
  let contents: ShownContents = { shows: 0 };
  let rangeBytes = hashRangeBytesMax;
  for (const { id, sizeBytes, journalOnly } of there) {
    const volume = [...group.volumes.values()].find(({ catalog }) => catalog.id === id);
    if (!volume || volume.catalog.journalOnly || journalOnly || volume.backingFile === '') continue;
    const end = Math.min(sizeBytes, volume.catalog.sizeBytes);
    for (let at = 0; at < end; ) {
      if (!deps.isWanted()) {
        const text = `group ${group.name} is not to be compared any more`;
        throw new JnbdError('request_aborted', text);
      }
      const length = Math.min(rangeBytes, end - at);
      const answer = await compareRange(group, volume, at, length, regions, deps).catch(tooSlow);
      if (answer === 'slow') {
        if (rangeBytes === rangeBytesMin) {
          throw new JnbdError('peer_silent', 'no hashes came in time');
        }
        rangeBytes = Math.max(rangeBytesMin, rangeBytes / 4);
        continue;
      }
      if (!answer) break;
      contents = addShown(contents, answer.shows);
      deps.compared(length);
      at += length;
    }
  }
  return { regions, contents };
}

/** A source that bounds its copies a lot is asked for less. */
function tooSlow(error: unknown): 'slow' {
  if (error instanceof JnbdError && error.code === 'peer_silent') return 'slow';
  throw error;
}

/** Undefined: the volume is not there any more, and a record will say so. */
async function compareRange(
  group: Group,
  volume: Volume,
  offset: number,
  length: number,
  regions: RegionSet,
  deps: ComparisonDependencies,
): Promise<HashAnswer | undefined> {
  const { id } = volume.catalog;
  const [theirs, ours] = await Promise.all([
    hashesThere(group, id, offset, length, deps),
    ownHashes(group, volume, offset, offset + length),
  ]);
  if (!theirs) return undefined;
  for (const unit of differingUnits(theirs.hashes, ours, offset, length)) {
    regions.add(id, unit.offset, unit.length);
  }
  return theirs.answer;
}

async function hashesThere(
  group: Group,
  volume: number,
  offset: number,
  length: number,
  { client, caller, clock, isWanted }: ComparisonDependencies,
): Promise<{ readonly answer: HashAnswer; readonly hashes: Uint8Array } | undefined> {
  const request = {
    method: 'GET' as const,
    path: hashesPath(group.catalog.groupId, volume),
    headers: { ...encodeCaller(caller), ...encodeHashRange({ offset, length }) },
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { status, headers, body } = await wholeAnswer(client, request, limits);
      if (status >= 400) throw readProblem(status, body).error;
      const answer = decodeHashAnswer(headers);
      if (body.length === unitsIn(length) * unitHashBytes) return { answer, hashes: body };
      throw new JnbdError('protocol_violated', `${body.length} bytes of hashes came for ${length}`);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      if (error.code === 'volume_not_found') return undefined;
      const isSlow = error.code === 'peer_silent';
      const isRetryable = error.kind === 'retryable' && !isSlow;
      if (!isRetryable || attempt >= attemptsMax || !isWanted()) throw error;
      await new Promise<void>((resolve) => clock.after(attemptMilliseconds, resolve));
    }
  }
}
