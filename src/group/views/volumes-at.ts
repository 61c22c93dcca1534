import { type CatalogChange, type CatalogVolume, decodeChange } from '../catalog/catalog.ts';
import { changeRollback } from '../catalog/rollback.ts';

/** A change of the catalog as its record has it. */
export interface ListedChange {
  readonly number: number;
  readonly payload: Uint8Array;
}

/** Volumes of users once `changes` hold, those up to `from` already among them. */
export function volumesAfter(
  volumes: readonly CatalogVolume[],
  from: number,
  changes: readonly ListedChange[],
): readonly CatalogVolume[] {
  let after = volumes;
  for (const { number, payload } of changes)
    if (number > from) after = changed(after, decodeChange(payload), number);
  return after;
}

function changed(
  volumes: readonly CatalogVolume[],
  change: CatalogChange,
  number: number,
): readonly CatalogVolume[] {
  switch (change.change) {
    case 'volume_created':
      return [...volumes, change.volume];
    case 'volume_changed':
      return volumes.map((volume) => (volume.id === change.volume.id ? change.volume : volume));
    case 'volume_deleted':
      return volumes.filter(({ id }) => id !== change.id);
    case 'rollback_begun':
    case 'rollback_ended':
      return changeRollback(volumes, change, number);
    default:
      return volumes;
  }
}
