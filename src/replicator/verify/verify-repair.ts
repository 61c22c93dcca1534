import { chainOf, isHidden } from '../../group/catalog/snapshots.ts';
import type { Group } from '../../group/order/group.ts';
import { Repair } from '../../group/volumes/repair.ts';
import { emptyPlace } from '../../history/snapshot-read.ts';
import { blockBytes } from '../../platform/limits.ts';
import { RegionSet } from '../../volume/region-set.ts';
import { contentsBytesMax } from '../protocol/wire-verify.ts';
import type { PeerComparison } from './view-comparison.ts';

interface Repaired {
  readonly bytes: number;
  readonly leftBytes: number;
}

/**
 * What a follower has otherwise than its source, as parts of the files here: of a snapshot everything in which a
 * block of it is looked for, because which of it is wrong is not known.
 */
export function regionsToBring(group: Group, { regions }: PeerComparison): RegionSet {
  const files = new RegionSet();
  const { list, living } = group.snapshots;
  for (const [number, set] of regions) {
    const snapshot = living.find((each) => each.number === number);
    for (const { volume, offset, length } of set.ranges()) {
      files.add(volume, offset, length);
      if (!snapshot || isHidden(snapshot)) continue;
      for (const area of chainOf(list, number, volume) ?? []) files.add(area, offset, length);
    }
  }
  return files;
}

/**
 * Writes on the primary what a follower has where both differ. `number` is that of the snapshot which both were
 * compared by: what was written since stays. Rejects with JnbdError.
 */
export async function repairPrimary(
  group: Group,
  number: number,
  { peer, regions }: PeerComparison,
  checkWanted: () => void,
): Promise<Repaired> {
  const repair = new Repair(group, number);
  const volumes = new Map([...group.volumes.values()].map((each) => [each.catalog.id, each]));
  let bytes = 0;
  let leftBytes = 0;
  const pieces = function* (set: RegionSet | undefined) {
    for (const { volume, offset, length } of set?.ranges() ?? []) {
      for (let at = offset; at < offset + length; at += contentsBytesMax) {
        const part = Math.min(contentsBytesMax, offset + length - at);
        yield { volume, offset: at, length: part };
      }
    }
  };
  const own = regions.get(number);
  for (const { volume: id, offset, length } of pieces(own)) {
    checkWanted();
    const contents = await peer.contents(number, id, offset, length);
    const volume = volumes.get(id);
    const written = volume ? await repair.writeVolume(volume, offset, contents, checkWanted) : 0;
    bytes += written;
    leftBytes += length - written;
  }
  for (const [snapshot, set] of regions) {
    if (snapshot === number) continue;
    for (const piece of pieces(set)) {
      checkWanted();
      if (isRepaired(group, snapshot, piece, own)) continue;
      const { volume, offset, length } = piece;
      const contents = await peer.contents(snapshot, volume, offset, length);
      const written = await repair.writeSnapshot(snapshot, volume, offset, contents, checkWanted);
      bytes += written;
      leftBytes += length - written;
    }
  }
  await repair.durable();
  return { bytes, leftBytes };
}

/** The snapshot looks for all of it in the volume, where it was repaired already. */
function isRepaired(
  group: Group,
  snapshot: number,
  piece: { readonly volume: number; readonly offset: number; readonly length: number },
  repaired: RegionSet | undefined,
): boolean {
  const volume = [...group.volumes.values()].find(({ catalog }) => catalog.id === piece.volume);
  if (!volume || !repaired?.covers(piece.volume, piece.offset, piece.length)) return false;
  const end = piece.offset + piece.length;
  const blocks = group.snapshots.blocks(snapshot, volume);
  const place = emptyPlace();
  blocks.find(Math.floor(piece.offset / blockBytes), Math.ceil(end / blockBytes), place);
  return place.isLive && place.end * blockBytes >= end;
}
