import { emptyPlace } from '../../history/snapshot-read.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { ExportClient, ExportSession } from '../apply/export.ts';
import type { Volume } from '../apply/volume.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import { areaName, type CatalogSnapshot, isHidden } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';
import { SnapshotSession } from '../snapshots/snapshot-session.ts';
import { changedExtents } from '../views/changed-extents.ts';
import { ViewSession } from '../views/view-session.ts';

/** In bytes; none overlaps another, and they rise. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** A volume as it was. */
export interface TargetVolume {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  open(client: ExportClient): ExportSession;
  /** What of the volume may be otherwise now, `sizeBytes` of it being what it has. */
  differing(sizeBytes: number): Iterable<ByteRange>;
}

/** All volumes of a group as they were at one update, for as long as they are looked at. */
export interface RollbackTarget {
  readonly number: number;
  /** By id: those that were there then, and whose contents are known. */
  readonly volumes: ReadonlyMap<number, TargetVolume>;
  /** Names of those whose contents are not. */
  readonly missing: readonly string[];
  /** Those that were being rolled back themselves then. */
  readonly unsettled: readonly CatalogVolume[];
  /** Unix milliseconds, where the journal does not tell; null: it does. */
  readonly atMilliseconds: number | null;
  close(): void;
}

/**
 * A snapshot that was made with that number needs no window; every other update is shown by a view. Everything that was
 * numbered until now is durable, and what it changed is known. Rejects with JnbdError: state_refuses, record_unreadable,
 * position_released.
 */
export async function openTarget(group: Group, number: number): Promise<RollbackTarget> {
  const snapshot = group.snapshots.living.find((each) => each.number === number);
  const isComplete = snapshot?.areas.every(({ volume }) =>
    group.snapshots.isComplete(number, volume),
  );
  if (snapshot && isComplete && !isHidden(snapshot) && number <= group.catalog.number)
    return snapshotTarget(group, snapshot);
  return viewTarget(group, number);
}

function snapshotTarget(group: Group, snapshot: CatalogSnapshot): RollbackTarget {
  const { number, name, atMilliseconds } = snapshot;
  const byId = new Map([...group.volumes.values()].map((volume) => [volume.catalog.id, volume]));
  const volumes = new Map<number, TargetVolume>();
  for (const { volume: id, area: areaId } of snapshot.areas) {
    const volume = byId.get(id);
    const area = group.volumes.get(areaName(areaId));
    if (!volume || !area) continue;
    const of = { number, name, volume, area };
    volumes.set(id, {
      id,
      name: volume.catalog.name,
      sizeBytes: area.catalog.preserves?.dataBytes ?? 0,
      open: (client) => new SnapshotSession(group, of, client),
      differing: (sizeBytes) => preservedRanges(group, number, volume, sizeBytes),
    });
  }
  const nothing = { missing: [], unsettled: [], atMilliseconds };
  return { number, volumes, ...nothing, close: () => undefined };
}

/** What was overwritten since, and what lies behind what the volume was: areas of later snapshots may have it. */
function* preservedRanges(
  group: Group,
  number: number,
  volume: Volume,
  sizeBytes: number,
): Generator<ByteRange> {
  const blocks = group.snapshots.blocks(number, volume);
  const place = emptyPlace();
  const endBlock = Math.ceil(sizeBytes / blockBytes);
  const known = group.snapshots.living.find((each) => each.number === number);
  const areaId = known?.areas.find((each) => each.volume === volume.catalog.id)?.area;
  const area = areaId === undefined ? undefined : group.volumes.get(areaName(areaId));
  const dataBytes = area?.catalog.preserves?.dataBytes ?? 0;
  const dataEnd = Math.min(endBlock, Math.ceil(dataBytes / blockBytes));
  for (let block = 0; block < dataEnd; block = place.end) {
    blocks.find(block, dataEnd, place);
    if (!place.isLive) yield rangeOf(block, place.end, sizeBytes);
  }
  if (endBlock > dataEnd) yield rangeOf(dataEnd, endBlock, sizeBytes);
}

function rangeOf(from: number, to: number, sizeBytes: number): ByteRange {
  const offset = from * blockBytes;
  return { offset, length: Math.min(to * blockBytes, sizeBytes) - offset };
}

async function viewTarget(group: Group, number: number): Promise<RollbackTarget> {
  const view = await group.views.glimpse(number);
  const close = (): void => group.views.forget(view, 'it is not needed any more');
  try {
    await durable(group);
    const changed = await changedExtents(group, number, group.watermarks.durable);
    const extents = new Map(changed.map((each) => [each.name, each.extents]));
    const names = new Map([...group.volumes.values()].map((volume) => [volume.catalog.id, volume]));
    const volumes = new Map<number, TargetVolume>();
    for (const viewed of view.volumes) {
      const { id, sizeBytes } = viewed.entry;
      const volume = names.get(id);
      // What it holds is there, though nobody can go back to it any more.
      if (!volume) continue;
      const { name } = volume.catalog;
      volumes.set(id, {
        id,
        name,
        sizeBytes,
        open: (client) => new ViewSession(group, view, viewed, client),
        differing: () => extents.get(name) ?? [],
      });
    }
    const gone = view.volumes.filter(({ id }) => !volumes.has(id)).map(({ entry }) => entry.name);
    const missing = [...view.missing, ...gone];
    return { number, volumes, missing, unsettled: view.unsettled, atMilliseconds: null, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Whatever was numbered for these volumes; nothing more is. */
async function durable(group: Group): Promise<void> {
  const { name, watermarks, clock } = group;
  const through = watermarks.newest;
  while (watermarks.durable < through) {
    if (group.state !== 'normal')
      throw new JnbdError('state_refuses', `group ${name} is ${group.state}`);
    group.journal.requestDurable();
    await new Promise<void>((resolve) => clock.after(5, resolve));
  }
}
