import type { System } from '../group/system/system.ts';
import { createClone, deleteClone, requireSnapshot } from '../group/volumes/clone-changes.ts';
import {
  createSnapshot,
  deleteSnapshot,
  scheduleSnapshots,
} from '../group/volumes/snapshot-changes.ts';
import { isScheduledName } from '../group/catalog/snapshot-schedule.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { formatSchedule } from '../platform/schedule-text.ts';
import type { Parameters, Result } from './schema.ts';
import type { StatusReport } from './status.ts';

export interface SnapshotVerbSources {
  readonly system: System;
  readonly disk: Disk;
  readonly report: StatusReport;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/** Throws argument_invalid. */
export function refuseScheduledName(name: string): void {
  if (!isScheduledName(name)) return;
  const text = `${name} is what the schedule names its snapshots, and deletes them; give another name`;
  throw new JnbdError('argument_invalid', text);
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
    refuseScheduledName(name);
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

  export(parameters: Parameters<'snapshot export'>): Promise<Result<'snapshot export'>> {
    const { system, report } = this.#sources;
    const { group: groupName, name } = parameters.snapshot;
    const group = system.group(groupName);
    const snapshot = requireSnapshot(group, name);
    const wanted = parameters.writable;
    const made = wanted === undefined ? undefined : createClone(group, name, wanted);
    if (wanted !== undefined && made?.created === true)
      this.#event('clone_created', groupName, wanted, `was made of ${groupName}@${name}`, 'clone');
    return Promise.resolve({
      result: made?.created === true ? 'done' : 'already_done',
      group: groupName,
      snapshot: report.snapshot(group, snapshot),
      clone: made ? report.clone(group, made.clone) : null,
    });
  }

  async schedule(
    parameters: Parameters<'snapshot schedule'>,
  ): Promise<Result<'snapshot schedule'>> {
    const group = this.#sources.system.group(parameters.group);
    const changed = await scheduleSnapshots(group, parameters.rules);
    const schedule = formatSchedule(group.catalog.snapshotSchedule ?? []);
    if (changed) {
      const text = `snapshots of group ${group.name} are scheduled: ${schedule}`;
      this.#sources.event('snapshots_scheduled', text, { group: group.name });
    }
    return { result: changed ? 'done' : 'already_done', group: group.name, schedule };
  }

  async delete(parameters: Parameters<'snapshot delete'>): Promise<Result<'snapshot delete'>> {
    const { group: groupName, name } = parameters.snapshot;
    const group = this.#sources.system.group(groupName);
    // A snapshot of that name can only have come from elsewhere, and is not seen here meanwhile.
    const clone = group.snapshots.clones.find(name);
    if (clone) {
      await deleteClone(group, clone, parameters.force ?? false);
      this.#event('clone_deleted', groupName, name, 'was deleted', 'clone');
      return { result: 'done' };
    }
    const deleted = await deleteSnapshot(group, name);
    if (deleted) this.#event('snapshot_deleted', groupName, name, 'was deleted');
    return { result: deleted ? 'done' : 'already_done' };
  }

  #event(
    code: string,
    group: string,
    name: string,
    what: string,
    kind: 'snapshot' | 'clone' = 'snapshot',
  ): void {
    const full = `${group}@${name}`;
    this.#sources.event(code, `${kind} ${full} ${what}`, { group, [kind]: full });
  }
}
