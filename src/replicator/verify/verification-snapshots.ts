import type { GroupWatcher } from '../../group/order/group-watcher.ts';
import type { Group } from '../../group/order/group.ts';
import { type CatalogSnapshot, isHidden } from '../../group/catalog/snapshots.ts';
import type { System, SystemWatcher } from '../../group/system/system.ts';
import {
  createHiddenSnapshot,
  deleteHiddenSnapshot,
} from '../../group/volumes/snapshot-changes.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';

/** Whoever needs it says so more often than this; it is deleted for one that is not heard. */
const leaseMilliseconds = 30_000;
const lookMilliseconds = 1000;
/** Of one group: each makes writes of hosts preserve. */
const snapshotsMax = 8;

interface Watched extends GroupWatcher {
  timer: Timer | undefined;
  /** So many are being made: they may be there before it is known who needs them. */
  beginning: number;
}

/**
 * The snapshots that groups of this system, as their primary, have for comparing systems. Who needs them is known in
 * memory alone: what a crash, or another primary, left is found when the group is opened, or becomes the primary's, and deleted.
 */
export class VerificationSnapshots implements SystemWatcher {
  readonly #system: System;
  readonly #clock: Clock;
  /** Monotonic, by group and number: until then somebody needs it. */
  readonly #needed = new Map<string, number>();
  readonly #watched = new Map<Group, Watched>();
  #isClosed = false;

  constructor(system: System, clock: Clock) {
    this.#system = system;
    this.#clock = clock;
    for (const group of system.groups.values()) this.groupOpened(group);
    system.watchers.add(this);
  }

  /** Rejects with JnbdError: state_refuses, memory_exhausted, disk_full, write_failed. */
  async begin(group: Group): Promise<CatalogSnapshot> {
    if (hiddenOf(group).length >= snapshotsMax) {
      const text = `group ${group.name} is being verified ${snapshotsMax} times already; try again`;
      throw new JnbdError('memory_exhausted', text);
    }
    const watched = this.#watched.get(group);
    if (!watched) throw new JnbdError('group_state', `group ${group.name} is being closed`);
    const system = this.#system;
    watched.beginning += 1;
    try {
      const snapshot = await createHiddenSnapshot(system.disk, group, system.filesOf(group));
      this.#need(group, snapshot.number);
      return snapshot;
    } finally {
      watched.beginning -= 1;
      this.#consider(group);
    }
  }

  /** It is needed for a while more. Throws state_refuses: it is gone. */
  renew(group: Group, number: number): void {
    if (!this.#needed.has(keyOf(group, number))) {
      const text = `the snapshot by which group ${group.name} was being verified is gone`;
      throw new JnbdError('state_refuses', text);
    }
    this.#need(group, number);
  }

  /** Nobody needs it; it is deleted, now or as soon as it can be. */
  async end(group: Group, number: number): Promise<void> {
    this.#needed.delete(keyOf(group, number));
    await this.#sweep(group);
    this.#consider(group);
  }

  groupOpened(group: Group): void {
    const watched: Watched = {
      timer: undefined,
      beginning: 0,
      durableAdvanced: () => undefined,
      appliedAdvanced: () => undefined,
      changed: () => this.#consider(group),
    };
    this.#watched.set(group, watched);
    group.watchers.add(watched);
    this.#consider(group);
  }

  groupClosing(group: Group): void {
    const watched = this.#watched.get(group);
    watched?.timer?.cancel();
    this.#watched.delete(group);
    if (watched) group.watchers.delete(watched);
  }

  close(): void {
    this.#isClosed = true;
    this.#system.watchers.delete(this);
    for (const group of this.#watched.keys()) this.groupClosing(group);
  }

  #need(group: Group, number: number): void {
    const until = this.#clock.monotonicMilliseconds() + leaseMilliseconds;
    this.#needed.set(keyOf(group, number), until);
  }

  /** A timer runs while there is one of them, and at no other time. */
  #consider(group: Group): void {
    const watched = this.#watched.get(group);
    if (!watched || watched.timer || this.#isClosed || group.role !== 'primary') return;
    if (hiddenOf(group).length === 0) return;
    watched.timer = this.#clock.after(lookMilliseconds, () => {
      watched.timer = undefined;
      void this.#sweep(group).then(() => this.#consider(group));
    });
  }

  async #sweep(group: Group): Promise<void> {
    const now = this.#clock.monotonicMilliseconds();
    if ((this.#watched.get(group)?.beginning ?? 0) > 0) return;
    for (const { number } of hiddenOf(group)) {
      const key = keyOf(group, number);
      if ((this.#needed.get(key) ?? 0) > now) continue;
      this.#needed.delete(key);
      // Whoever is the primary then deletes it.
      if (group.refusesWrites || this.#isClosed) return;
      try {
        await deleteHiddenSnapshot(group, number);
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
      }
    }
  }
}

function hiddenOf({ snapshots }: Group): readonly CatalogSnapshot[] {
  return snapshots.living.filter(isHidden);
}

function keyOf({ catalog }: Group, number: number): string {
  return `${catalog.groupId} ${number}`;
}
