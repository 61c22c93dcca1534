import type { CatalogSnapshot } from '../catalog/snapshots.ts';
import { ClearedRanges } from './cleared-ranges.ts';
import { Preserver, type PreservingGroup, type WaitingWriter } from './preserver.ts';
import { type SnapshotGroup, SnapshotRecords } from './snapshot-records.ts';
import { type ReturningGroup, SpaceReturn } from './space-return.ts';

/** The snapshots of a group, and what host writes have to do for them. */
export class GroupSnapshots extends SnapshotRecords {
  readonly preserver: Preserver;
  readonly cleared: ClearedRanges;
  readonly space: SpaceReturn;

  constructor(
    group: SnapshotGroup & PreservingGroup & ReturningGroup,
    snapshots: readonly CatalogSnapshot[],
  ) {
    super(group, snapshots);
    this.preserver = new Preserver(group);
    this.cleared = new ClearedRanges(group, this.preserver);
    this.space = new SpaceReturn(group);
  }

  /** That connection is gone. */
  forget(writer: WaitingWriter): void {
    this.preserver.forget(writer);
    this.cleared.forget(writer);
  }
}
