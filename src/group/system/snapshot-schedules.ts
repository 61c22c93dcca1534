import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { decideSchedule, isScheduledName, scheduledName } from '../catalog/snapshot-schedule.ts';
import type { Group } from '../order/group.ts';
import { createSnapshot, deleteSnapshot } from '../volumes/snapshot-changes.ts';
import type { System } from './system.ts';

const lookMilliseconds = 1000;
/** What failed is tried again so much later. */
const retryMilliseconds = 60_000;

interface ScheduleDependencies {
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/**
 * Makes and deletes the snapshots that groups' schedules want, of those that this system is the primary of. What is
 * due is found from the snapshots that there are, so that a restart, or another primary, goes on where the last
 * one was, and makes what was missed once.
 */
export class SnapshotSchedules {
  readonly #deps: ScheduleDependencies;
  readonly #system: System;
  readonly #failedAt = new Map<string, number>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(deps: ScheduleDependencies, system: System) {
    this.#deps = deps;
    this.#system = system;
  }

  start(): void {
    if (this.#isClosed) return;
    this.#timer = this.#deps.clock.after(lookMilliseconds, () => {
      void this.#look().finally(() => this.start());
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    for (const group of this.#system.groups.values()) {
      const { name, catalog, refusesWrites, hosts } = group;
      const isOurs = !refusesWrites && !hosts.isHeld && catalog.snapshotSchedule !== undefined;
      // What is due is made once it has ended.
      if ([...group.volumes.values()].some(({ rollsBackTo }) => rollsBackTo !== undefined))
        continue;
      const failedAt = this.#failedAt.get(name) ?? Number.NEGATIVE_INFINITY;
      const isTime = this.#deps.clock.monotonicMilliseconds() - failedAt >= retryMilliseconds;
      if (isOurs && isTime && !this.#isClosed) await this.#carryOut(group);
    }
  }

  async #carryOut(group: Group): Promise<void> {
    const { clock } = this.#deps;
    const { conditions, name } = group;
    const now = clock.wallMilliseconds();
    const scheduled = group.snapshots.living.filter((each) => isScheduledName(each.name));
    const rules = group.catalog.snapshotSchedule ?? [];
    if (rules.length === 0) return;
    const { isDue, superseded } = decideSchedule(rules, scheduled, now);
    try {
      if (isDue) await this.#create(group, scheduledName(now));
      for (const each of superseded) await this.#delete(group, each);
      this.#failedAt.delete(name);
      conditions.clear(name, 'snapshot_missed', `snapshots of group ${name} are made as scheduled`);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      if (group.state !== 'normal' || group.refusesWrites) return;
      this.#failedAt.set(name, clock.monotonicMilliseconds());
      conditions.raise(name, {
        code: 'snapshot_missed',
        severity: 'warning',
        message: `what is scheduled for group ${name} was not done: ${error.message}; it is tried again every minute`,
        nextCommand: `jnbd snapshot list ${name}`,
      });
    }
  }

  async #create(group: Group, snapshotName: string): Promise<void> {
    const { disk } = this.#system;
    const files = this.#system.filesOf(group);
    const { snapshot } = await createSnapshot(disk, group, files, snapshotName);
    const what = `was made at update ${snapshot.number}, as scheduled`;
    this.#event('snapshot_created', group, snapshotName, what);
  }

  /** One that is in use is left for later. */
  async #delete(group: Group, snapshotName: string): Promise<void> {
    try {
      if (await deleteSnapshot(group, snapshotName))
        this.#event('snapshot_deleted', group, snapshotName, 'was deleted, as scheduled');
    } catch (error) {
      if (!(error instanceof JnbdError && error.code === 'volume_in_use')) throw error;
    }
  }

  #event(code: string, { name: group }: Group, name: string, what: string): void {
    const snapshot = `${group}@${name}`;
    this.#deps.event(code, `snapshot ${snapshot} ${what}`, { group, snapshot });
  }
}
