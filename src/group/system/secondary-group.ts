import type { Disk } from '../../platform/disk.ts';
import type { Catalog, CatalogVolume } from '../catalog/catalog.ts';
import type { CatalogSnapshot } from '../catalog/snapshots.ts';
import { FollowFile, type FollowedSource } from '../catalog/follow-file.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { type Lineage, lineageThrough } from '../catalog/lineage.ts';
import type { GroupBeginning } from './make-group.ts';
import { makeBackingFile } from '../volumes/volume-changes.ts';

/** A group as its source has it when following begins. */
export interface GroupOrigin {
  readonly groupId: string;
  readonly lineage: Lineage;
  /** The first record that comes is the one behind this number. */
  readonly from: number;
  readonly catalogNumber: number;
  readonly nextVolumeId: number;
  readonly volumes: readonly CatalogVolume[];
  readonly snapshots: readonly CatalogSnapshot[] | undefined;
  readonly snapshotSchedule: Catalog['snapshotSchedule'];
  readonly journalOnly: boolean;
  readonly follow: FollowedSource;
  /** Whether volumes have contents that no record will bring. */
  readonly isCopied: boolean;
}

/** `own`: what this system decides by itself. */
export function secondaryCatalog(own: Catalog, origin: GroupOrigin): Catalog {
  return {
    ...own,
    groupId: origin.groupId,
    role: 'secondary',
    journalOnly: origin.journalOnly,
    lineage: lineageThrough(origin.lineage, origin.from),
    number: origin.catalogNumber,
    nextVolumeId: origin.nextVolumeId,
    volumes: hereVolumes(origin),
    snapshots: origin.snapshots,
    snapshotSchedule: origin.snapshotSchedule,
  };
}

/** Its volumes' files, empty, and whom it follows: all there before it counts as a group. */
export function secondaryBeginning(
  disk: Disk,
  files: GroupFiles,
  origin: GroupOrigin,
): GroupBeginning {
  const stored = hereVolumes(origin).filter(({ journalOnly }) => !journalOnly);
  return {
    number: origin.from,
    prepare() {
      for (const { id, sizeBytes } of stored) {
        makeBackingFile(disk, files, files.volume(id), sizeBytes).closeSync();
      }
      const copied = origin.isCopied ? stored : [];
      new FollowFile(disk, files.follow).write({
        formatVersion: 1,
        ...origin.follow,
        copies: copied.map(({ id }) => ({ volume: id, address: 0 })),
        shows: origin.from,
      });
    },
  };
}

function hereVolumes({ volumes, journalOnly }: GroupOrigin): CatalogVolume[] {
  return volumes.map((volume) => ({ ...volume, journalOnly: journalOnly || volume.journalOnly }));
}
