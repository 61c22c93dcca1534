import type { OpenSession } from '../apply/volume.ts';
import type { CatalogSnapshot } from '../catalog/snapshots.ts';
import { AheadPreserver, type AheadPreservingGroup } from './ahead-preserver.ts';
import { ClearedRanges } from './cleared-ranges.ts';
import { type ClonedGroup, Clones } from './clones.ts';
import { Preserver, type WaitingWriter } from './preserver.ts';
import { type SnapshotGroup, SnapshotRecords } from './snapshot-records.ts';
import { type ReturningGroup, SpaceReturn } from './space-return.ts';

/** The snapshots of a group, and what host writes have to do for them. */
export class GroupSnapshots extends SnapshotRecords {
  readonly preserver: Preserver;
  readonly ahead: AheadPreserver;
  readonly cleared: ClearedRanges;
  readonly space: SpaceReturn;
  readonly clones: Clones;
  readonly #all: SnapshotGroup['volumes'];

  constructor(
    group: SnapshotGroup & AheadPreservingGroup & ReturningGroup & ClonedGroup,
    snapshots: readonly CatalogSnapshot[],
  ) {
    super(group, snapshots);
    this.preserver = new Preserver(group);
    this.ahead = new AheadPreserver(group, (blocks) => {
      this.preserver.preservedBlocks += blocks;
    });
    this.cleared = new ClearedRanges(group, this.preserver);
    this.space = new SpaceReturn(group);
    this.clones = new Clones(group);
    this.#all = group.volumes;
  }

  /** Of all volumes, and of what stands over them. */
  *sessions(): Generator<OpenSession> {
    for (const volume of this.#all.values()) yield* volume.sessions;
    yield* this.clones.sessions();
  }

  async close(): Promise<void> {
    this.space.close();
    await this.clones.close();
  }

  /** That connection is gone. */
  forget(writer: WaitingWriter): void {
    this.preserver.forget(writer);
    this.cleared.forget(writer);
    this.ahead.release();
  }
}
