import { assert } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import { describeRollbacks, type Volume } from '../apply/volume.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { type RollbackChange, standingRollback } from '../catalog/rollback.ts';
import type { Group } from '../order/group.ts';
import { makeChange } from '../order/numbered-change.ts';
import type { CopyTurns } from './copy-turns.ts';
import { RollbackStage } from './rollback-stage.ts';
import { differingBytes, stageVolume } from './rollback-staging.ts';
import type { RollbackTarget } from './rollback-target.ts';
import { storedBytes, writeStore } from './rollback-writing.ts';
import { VolumeWriter } from './volume-writer.ts';

/**
 * `staging`: what volumes are to hold is being gathered, and nothing has changed. `writing`: the record that begins it
 * is numbered, or about to be, and the blocks are on their way through the journal. `waiting`: there is no room for
 * them now. `ended`: volumes are what they were. `stopped`: here nothing goes on; what the catalog says still holds.
 */
export type RollbackState = 'staging' | 'writing' | 'waiting' | 'ended' | 'stopped';

export const rollbackTransitions: Record<RollbackState, readonly RollbackState[]> = {
  staging: ['writing', 'ended', 'stopped'],
  writing: ['waiting', 'ended', 'stopped'],
  waiting: ['writing', 'stopped'],
  ended: [],
  stopped: [],
};

export interface RollbackSurroundings {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly files: GroupFiles;
  readonly turns: CopyTurns;
}

const againMilliseconds = 1000;

/** Volumes of a group on their way back to one earlier update, in this process. */
export class Rollback {
  readonly group: Group;
  readonly plan: string;
  readonly to: number;
  readonly volumes: readonly Volume[];
  readonly #surroundings: RollbackSurroundings;
  #state: RollbackState = 'staging';
  #stage: RollbackStage | undefined;
  #writer: VolumeWriter | undefined;
  #stopped: JnbdError | undefined;
  /** Why it waits. */
  waitsFor = '';
  /** Compared while it is staged, written behind that. */
  doneBytes = 0;
  totalBytes = 0;

  constructor(
    surroundings: RollbackSurroundings,
    group: Group,
    plan: string,
    to: number,
    volumes: readonly Volume[],
  ) {
    this.#surroundings = surroundings;
    this.group = group;
    this.plan = plan;
    this.to = to;
    this.volumes = volumes;
  }

  get state(): RollbackState {
    return this.#state;
  }

  /** Nothing more is done here, as soon as that can be; whoever waits for it is given the reason. */
  stop(reason: JnbdError): void {
    this.#stopped ??= reason;
    this.#writer?.fail(reason);
  }

  /**
   * Gathers what they are to hold. False: they hold it. Rejects with JnbdError, and then what there is of it is worth
   * nothing: no room for it is disk_full, what cannot be read any more state_refuses or record_unreadable.
   */
  async stage(target: RollbackTarget): Promise<boolean> {
    const { disk, clock, files } = this.#surroundings;
    try {
      const volumes = this.volumes.map(({ catalog: { id, sizeBytes } }) => {
        return { id, dataBytes: sizeBytes };
      });
      const stage = RollbackStage.make(disk, clock, files, this.plan, this.to, volumes);
      this.#stage = stage;
      this.totalBytes = this.#sum(target);
      for (const volume of this.volumes) {
        const past = target.volumes.get(volume.catalog.id);
        const store = stage.store(volume.catalog.id);
        if (!past || !store) throw this.#changed(volume);
        await stageVolume(this.group, volume, past, store, (bytes) => this.#compared(bytes));
      }
      await stage.seal();
      this.#check();
      return this.#storedBytes() > 0;
    } catch (error) {
      await this.close();
      throw refusedBySystem(error, 'write_failed', 'cannot gather what volumes held') ?? error;
    }
  }

  /** There is one for this plan, complete. Throws JnbdError catalog_damaged, system errors. */
  findStage(): boolean {
    const { disk, clock, files } = this.#surroundings;
    this.#stage = RollbackStage.open(disk, clock, files, this.plan);
    return this.#stage !== undefined;
  }

  /** Nothing more is done here. What was gathered is used, or removed, by whoever finds it in the files. */
  async close(): Promise<void> {
    if (this.#state !== 'ended') this.#become('stopped');
    await this.#stage?.close();
    this.#stage = undefined;
  }

  /**
   * Numbers the record behind which no host sees the volumes, and every system knows of the plan. Rejects with
   * JnbdError; then, unless the journal failed, it has not begun.
   */
  begin(): Promise<void> {
    const { group, plan, to } = this;
    return group.changes.inTurn(async () => {
      this.#check();
      for (const volume of this.volumes) this.#checkSame(volume);
      const volumes = this.volumes.map(({ catalog }) => catalog.id);
      await this.#change({ change: 'rollback_begun', plan, to, volumes });
    });
  }

  /**
   * Writes what was gathered, and numbers the record behind which hosts are let in. Waits for room as long as it takes.
   * Rejects with JnbdError where it cannot go on here now: the group is opened again, or another system is the primary.
   */
  async finish(): Promise<void> {
    this.#become('writing');
    this.doneBytes = 0;
    this.totalBytes = this.#storedBytes();
    try {
      for (const volume of this.volumes) await this.#write(volume);
      await this.#end();
      this.#become('ended');
    } finally {
      await this.close();
    }
  }

  async #write(volume: Volume): Promise<void> {
    const store = this.#stage?.store(volume.catalog.id);
    const writer = store && (await this.#open(volume));
    // It was deleted meanwhile, or made for fewer than the plan has now.
    if (!writer) return;
    this.#writer = writer;
    try {
      this.#check();
      await writeStore(store, writer, {
        turn: (bytes) => this.#turn(bytes),
        written: (bytes) => {
          this.doneBytes += bytes;
        },
        again: (failure) => this.#again(failure),
      });
    } finally {
      this.#writer = undefined;
      writer.close();
    }
  }

  /** In turn: while it is being deleted nothing may be written to it, and is not once this is there. */
  #open(volume: Volume): Promise<VolumeWriter | undefined> {
    const { group, to } = this;
    return group.changes.inTurn(() => {
      const isThere = group.volumes.get(volume.catalog.name) === volume;
      const writer = isThere
        ? new VolumeWriter(group, volume, `its rollback to update ${to}`)
        : undefined;
      return Promise.resolve(writer);
    });
  }

  async #end(): Promise<void> {
    const { group, plan } = this;
    for (;;) {
      try {
        await group.changes.inTurn(() => this.#change({ change: 'rollback_ended', plan }));
        return;
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        await this.#again(error);
      }
    }
  }

  async #change(change: RollbackChange): Promise<void> {
    this.#check();
    await makeRollbackChange(this.group, change);
  }

  /** What was gathered is of the volume as it is. */
  #checkSame(volume: Volume): void {
    const { group } = this;
    const { id, name, sizeBytes } = volume.catalog;
    const staged = this.#stage?.volumes.find((each) => each.id === id);
    const isThere = group.volumes.get(name) === volume;
    if (!isThere || staged?.dataBytes !== sizeBytes) throw this.#changed(volume);
  }

  #changed({ catalog }: Volume): JnbdError {
    const text = `volume ${this.group.name}/${catalog.name} was deleted or grown at the same time`;
    return new JnbdError('state_refuses', text);
  }

  #storedBytes(): number {
    let bytes = 0;
    for (const { id } of this.#stage?.volumes ?? []) {
      const store = this.#stage?.store(id);
      if (store) bytes += storedBytes(store);
    }
    return bytes;
  }

  #sum(target: RollbackTarget): number {
    let bytes = 0;
    for (const { catalog } of this.volumes) {
      const past = target.volumes.get(catalog.id);
      if (past) bytes += 2 * differingBytes(past, catalog.sizeBytes);
    }
    return bytes;
  }

  async #compared(bytes: number): Promise<void> {
    await this.#turn(bytes);
    this.doneBytes += bytes;
  }

  async #turn(bytes: number): Promise<void> {
    await this.#surroundings.turns.take(this.group, bytes);
    this.#check();
  }

  async #again(failure: JnbdError): Promise<void> {
    this.#check();
    if (this.#state === 'writing') this.#become('waiting');
    this.waitsFor = failure.message;
    await new Promise<void>((resolve) =>
      this.#surroundings.clock.after(againMilliseconds, resolve),
    );
    this.#check();
    this.#become('writing');
    this.waitsFor = '';
  }

  /** Throws JnbdError where it is not to go on here. */
  #check(): void {
    if (this.#stopped) throw this.#stopped;
    const { group } = this;
    const isReading = this.#state === 'staging' && group.state === 'normal';
    if (isReading || !group.refusesWrites) return;
    const text = `the rollback of group ${group.name} stops here: ${group.failureText}`;
    throw new JnbdError('state_refuses', text);
  }

  #become(state: RollbackState): void {
    assert(rollbackTransitions[this.#state].includes(state), `rollback ${this.#state} -> ${state}`);
    this.#state = state;
    this.group.changed();
  }
}

/** Nobody brings them back any more: they stay as they are. Rejects with JnbdError. */
export function abandonRollback(group: Group): Promise<void> {
  return group.changes.inTurn(async () => {
    const standing = standingRollback(group.catalog.volumes);
    if (!standing) return;
    await makeRollbackChange(group, { change: 'rollback_ended', plan: standing.plan });
  });
}

async function makeRollbackChange(group: Group, change: RollbackChange): Promise<void> {
  await makeChange(group, change);
  describeRollbacks(group);
  group.changed();
}
