import type { FileRole } from '../../src/platform/disk.ts';
import { newestCheckpoint } from './checkpoint-on-device.ts';
import type { EngineView } from './engine-view.ts';
import type { GroupModel } from './group-model.ts';
import { RequestLedger } from './request-ledger.ts';
import { SegmentTap } from './segment-tap.ts';
import type { DiskObserver } from './simulated-disk.ts';
import type { SimulatedFile } from './simulated-file.ts';
import { SyncTracker } from './sync-tracker.ts';
import { VolumeTap } from './volume-tap.ts';

type Written = Parameters<DiskObserver['written']>[1];

/**
 * Watches the disk below a daemon: what goes into journals, volumes and checkpoints is held against
 * each other and against what hosts asked for.
 */
export class JournalTap implements DiskObserver {
  /** By group id. */
  readonly models = new Map<string, GroupModel>();
  readonly ledger = new RequestLedger();
  readonly syncs = new SyncTracker();
  /** By the path of a group's directory: what its checkpoint on the device says. */
  readonly checkpoints = new Map<string, number>();
  readonly segments: SegmentTap;
  readonly #volumes: VolumeTap;
  readonly #engine: EngineView;

  constructor(engine: EngineView, report: (text: string) => void) {
    this.#engine = engine;
    this.segments = new SegmentTap(this, engine, report);
    this.#volumes = new VolumeTap((group) => this.model(group), this.syncs, engine, report);
  }

  model(group: string): GroupModel | undefined {
    return [...this.models.values()].find(({ name }) => name === group);
  }

  /** The group of that name is this one: another that could not be deleted to the end is gone. */
  forgetOthers(name: string, groupId: string | undefined): void {
    for (const model of this.models.values()) {
      if (model.name === name && model.groupId !== groupId) this.models.delete(model.groupId);
    }
  }

  written(file: SimulatedFile, write: Written): void {
    if (write.length === 0) return;
    if (write.role === 'segment') this.segments.written(file, write);
    else if (write.role === 'volume') this.#volumes.written(file, write);
    else if (write.role === 'checkpoint' && isCheckpoint(write.path)) {
      this.#volumes.checkpointWritten(write, groupDirectory(write.path));
    }
  }

  synced(
    file: SimulatedFile,
    path: string,
    role: FileRole,
    changeNumber: number,
    ok: boolean,
  ): void {
    this.syncs.ended(file, changeNumber, ok);
    if (!ok && role === 'segment') this.#engine.journalSyncFailed();
    if (role !== 'checkpoint' || !ok || !isCheckpoint(path)) return;
    const applied = newestCheckpoint(file);
    if (applied !== undefined) this.checkpoints.set(groupDirectory(path), applied);
  }

  cleared(
    file: SimulatedFile,
    path: string,
    role: FileRole,
    position: number,
    length: number,
  ): void {
    if (role === 'volume') this.#volumes.cleared(file, path, position, length);
  }

  /** What is on the device is all there is. */
  powerLost(): void {
    this.syncs.powerLost();
  }

  processEnded(): void {
    this.ledger.clear();
    this.segments.processEnded();
    this.#volumes.processEnded();
  }
}

/** Not the journal's head, which is a file of the same make. */
function isCheckpoint(path: string): boolean {
  return /\/checkpoint(\.tmp)?$/.test(path);
}

function groupDirectory(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
