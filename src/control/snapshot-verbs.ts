import type { System } from '../group/system/system.ts';
import { createSnapshot, deleteSnapshot } from '../group/volumes/snapshot-changes.ts';
import type { Disk } from '../platform/disk.ts';
import type { Parameters, Result } from './schema.ts';
import type { StatusReport } from './status.ts';

export interface SnapshotVerbSources {
  readonly system: System;
  readonly disk: Disk;
  readonly report: StatusReport;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/** Carries out the verbs about snapshots. */
export class SnapshotVerbs {
  readonly #sources: SnapshotVerbSources;

  constructor(sources: SnapshotVerbSources) {
    this.#sources = sources;
  }

  async create(parameters: Parameters<'snapshot create'>): Promise<Result<'snapshot create'>> {
    const { system, disk, report } = this.#sources;
    const { group: groupName, name } = parameters.snapshot;
    const group = system.group(groupName);
    const { snapshot, created } = await createSnapshot(disk, group, system.filesOf(group), name);
    if (created)
      this.#event('snapshot_created', groupName, name, `was made at update ${snapshot.number}`);
    return {
      result: created ? 'done' : 'already_done',
      group: groupName,
      snapshot: report.snapshot(group, snapshot),
    };
  }

  async delete(parameters: Parameters<'snapshot delete'>): Promise<Result<'snapshot delete'>> {
    const { group: groupName, name } = parameters.snapshot;
    const group = this.#sources.system.group(groupName);
    const deleted = await deleteSnapshot(group, name);
    if (deleted) this.#event('snapshot_deleted', groupName, name, 'was deleted');
    return { result: deleted ? 'done' : 'already_done' };
  }

  #event(code: string, group: string, name: string, what: string): void {
    const snapshot = `${group}@${name}`;
    this.#sources.event(code, `snapshot ${snapshot} ${what}`, { group, snapshot });
  }
}
