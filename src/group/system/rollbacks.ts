import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';
import type { Random } from '../../platform/random.ts';
import { formatSize } from '../../platform/size-text.ts';
import { shownVolumes, type Volume } from '../apply/volume.ts';
import { type RollbackPlan, standingRollback } from '../catalog/rollback.ts';
import { isHidden } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';
import { CopyTurns } from '../volumes/copy-turns.ts';
import { abandonRollback, Rollback } from '../volumes/rollback.ts';
import {
  checkComplete,
  checkRollsBack,
  estimateRollback,
  type RollbackEstimate,
} from '../volumes/rollback-estimate.ts';
import { removeStages } from '../volumes/rollback-stage.ts';
import { openTarget } from '../volumes/rollback-target.ts';
import type { System } from './system.ts';

const lookMilliseconds = 1000;
const tellMilliseconds = 250;
/** What cannot go on is tried again so much later. */
const retryMilliseconds = 60_000;

interface RollbackDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

export interface RollbackProgress {
  readonly signal: AbortSignal;
  /** While what they held is gathered, and again while it is written. */
  readonly reached: (bytes: number, totalBytes: number) => void;
}

/**
 * Brings volumes of groups back to earlier updates, by writing what they held (SAFETY 30): what is asked for here, and
 * what a group that is opened, or promoted, finds begun.
 */
export class Rollbacks {
  readonly #deps: RollbackDependencies;
  readonly #system: System;
  readonly #turns: CopyTurns;
  readonly #running = new Map<
    Group,
    { readonly rollback: Rollback; readonly ended: Promise<unknown> }
  >();
  /** Groups that a command is busy with. */
  readonly #claimed = new Set<Group>();
  readonly #failedAt = new WeakMap<Group, number>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(deps: RollbackDependencies, system: System) {
    this.#deps = deps;
    this.#system = system;
    this.#turns = new CopyTurns(deps.clock);
    for (const group of system.groups.values()) this.#opened(group);
    system.watchers.add({
      groupOpened: (group) => this.#opened(group),
      groupClosing: () => undefined,
    });
  }

  start(): void {
    if (this.#isClosed) return;
    this.#timer = this.#deps.clock.after(lookMilliseconds, () => {
      for (const group of this.#system.groups.values()) this.#look(group);
      this.start();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const { rollback } of this.#running.values())
      rollback.stop(new JnbdError('shutting_down', `system ${this.#system.name} is being stopped`));
  }

  /** What goes on here now. */
  progress(group: Group): Rollback | undefined {
    return this.#running.get(group)?.rollback;
  }

  /**
   * `wanted`: one volume, or all that were there. Rejects with JnbdError: state_refuses where that update cannot be
   * shown, or they cannot be brought there.
   */
  async estimate(group: Group, wanted: Volume | 'all', number: number): Promise<RollbackEstimate> {
    checkRollsBack(group);
    const target = await openTarget(group, number);
    try {
      return estimateRollback(group, wanted, target);
    } finally {
      target.close();
    }
  }

  /**
   * Resolves when the volumes of the estimate are what they were; false: they are. Connected hosts are put out. `signal`
   * ends it as long as nothing has changed; from then on it goes on whoever waits for it. Rejects with JnbdError.
   */
  async rollBack(
    group: Group,
    { to, volumes }: RollbackEstimate,
    { signal, reached }: RollbackProgress,
  ): Promise<boolean> {
    const release = await this.#claim(group);
    let finished: Promise<void>;
    try {
      checkComplete(group, volumes);
      // In one turn, so that nothing is numbered for them that is not known when they are compared.
      for (const volume of volumes) shutOut(group, volume, to);
      group.hosts.wake();
      const staged = await this.#stage(group, volumes, to, signal, reached);
      if (!staged) {
        letIn(group, volumes);
        return false;
      }
      await this.#begin(group, staged);
      finished = this.#finish(group, staged, reached);
    } catch (error) {
      letIn(group, volumes);
      throw error;
    } finally {
      release();
    }
    await finished;
    return true;
  }

  /**
   * For a promotion: gathers what all volumes held at that update, and leaves it to whoever begins the plan. Undefined:
   * they hold it. Rejects as `estimate`, and disk_full.
   */
  async prepare(group: Group, number: number): Promise<Omit<RollbackPlan, 'number'> | undefined> {
    const release = await this.#claim(group);
    try {
      const { volumes } = await this.estimate(group, 'all', number);
      const rollback = await this.#stage(group, volumes, number);
      if (!rollback) return undefined;
      await rollback.close();
      const { plan, to } = rollback;
      return { plan, to, volumes: volumes.map(({ catalog }) => catalog.id) };
    } finally {
      release();
    }
  }

  /** What `prepare` left is not wanted. */
  drop(group: Group): void {
    this.#removeStages(group);
  }

  /** A plan that is not to be carried out: volumes stay as they are. False: there is none. */
  async abandon(group: Group): Promise<boolean> {
    const release = await this.#claim(group);
    try {
      if (!standingRollback(group.catalog.volumes)) return false;
      await abandonRollback(group);
      this.#removeStages(group);
      this.#settled(group, 'goes back to no earlier update any more: its volumes stay as they are');
      return true;
    } finally {
      release();
    }
  }

  /** Until it is released nothing else begins here; what goes on is stopped. */
  async #claim(group: Group): Promise<() => void> {
    if (this.#claimed.has(group)) {
      const text = `group ${group.name} is being rolled back by another command; wait for that one`;
      throw new JnbdError('state_refuses', text);
    }
    this.#claimed.add(group);
    const running = this.#running.get(group);
    running?.rollback.stop(new JnbdError('state_refuses', 'it goes back to another update'));
    await running?.ended.catch(() => undefined);
    return () => this.#claimed.delete(group);
  }

  async #stage(
    group: Group,
    volumes: readonly Volume[],
    number: number,
    signal?: AbortSignal,
    reached?: RollbackProgress['reached'],
  ): Promise<Rollback | undefined> {
    checkRollsBack(group);
    const plan = Buffer.from(this.#deps.random.bytes(8)).toString('hex');
    const rollback = this.#make(group, plan, number, volumes);
    const abort = (): void =>
      rollback.stop(new JnbdError('request_aborted', 'the command was stopped'));
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    let isWanted = false;
    try {
      const differs = await this.#track(rollback, reached, () => gather(rollback));
      isWanted = differs || standingRollback(group.catalog.volumes) !== undefined;
      if (isWanted) return rollback;
      await rollback.close();
      return undefined;
    } finally {
      if (!isWanted) this.#removeStages(group);
      signal?.removeEventListener('abort', abort);
    }
  }

  async #begin(group: Group, staged: Rollback): Promise<void> {
    try {
      await staged.begin();
    } catch (error) {
      // Where the journal failed only the next start knows whether it has begun.
      await staged.close();
      if (group.state === 'normal') this.#removeStages(group);
      throw error;
    }
    this.#event('rollback_begun', group, `is being rolled back to update ${staged.to}`);
  }

  async #finish(
    group: Group,
    rollback: Rollback,
    reached?: RollbackProgress['reached'],
  ): Promise<void> {
    await this.#track(rollback, reached, () => rollback.finish());
    this.#removeStages(group);
    const { doneBytes, to } = rollback;
    this.#settled(group, `was rolled back to update ${to}: ${formatSize(doneBytes)} were written`);
  }

  /** What goes on is shown, and can be stopped. */
  async #track<T>(
    rollback: Rollback,
    reached: RollbackProgress['reached'] = () => undefined,
    run: () => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#deps;
    const { group } = rollback;
    const tell = (): void => {
      reached(rollback.doneBytes, rollback.totalBytes);
      timer = clock.after(tellMilliseconds, tell);
    };
    let timer = clock.after(tellMilliseconds, tell);
    const ended = run();
    this.#running.set(group, { rollback, ended });
    try {
      return await ended;
    } finally {
      timer.cancel();
      this.#running.delete(group);
    }
  }

  #make(group: Group, plan: string, to: number, volumes: readonly Volume[]): Rollback {
    const { clock } = this.#deps;
    const { disk } = this.#system;
    const files = this.#system.filesOf(group);
    const surroundings = { disk, clock, files, turns: this.#turns };
    return new Rollback(surroundings, group, plan, to, volumes);
  }

  #opened(group: Group): void {
    if (group.state === 'normal') this.#removeStages(group);
  }

  /** All that was gathered for no plan that stands. Nobody gathers anything now, or it would be gone. */
  #removeStages(group: Group): void {
    // Another one has its files now, and removes what is left when it is opened.
    if (this.#system.groups.get(group.name) !== group) return;
    const plan = standingRollback(group.catalog.volumes)?.plan;
    try {
      removeStages(this.#system.disk, this.#system.filesOf(group), plan);
    } catch (error) {
      // The next time that the group is opened.
      if (systemErrorCode(error) === undefined) throw error;
    }
  }

  /** What begun here, or elsewhere, and has not ended goes on. */
  #look(group: Group): void {
    const standing = standingRollback(group.catalog.volumes);
    const isBusy = this.#claimed.has(group) || this.#running.has(group) || this.#isClosed;
    if (!standing) {
      group.conditions.clear(
        group.name,
        'rollback_stopped',
        `group ${group.name} is not on its way back to an earlier update`,
      );
      return;
    }
    if (isBusy || group.refusesWrites || group.hosts.isHeld) return;
    const failedAt = this.#failedAt.get(group) ?? Number.NEGATIVE_INFINITY;
    if (this.#deps.clock.monotonicMilliseconds() - failedAt < retryMilliseconds) return;
    void this.#resume(group, standing).catch((error: unknown) => {
      if (!(error instanceof JnbdError) && systemErrorCode(error) === undefined) throw error;
      this.#cannot(group, standing, messageOf(error));
    });
  }

  /**
   * What this system never gathered, as after a promotion in the middle of it, it gathers now: its own past may reach
   * that update.
   */
  async #resume(group: Group, standing: RollbackPlan): Promise<void> {
    const { plan, to, volumes: ids } = standing;
    const volumes = shownVolumes(group.volumes).filter(({ catalog }) => ids.includes(catalog.id));
    const rollback = this.#make(group, plan, to, volumes);
    await this.#track(rollback, undefined, async () => {
      if (!rollback.findStage()) await gather(rollback);
      if (standing.number === undefined) await rollback.begin();
      await rollback.finish();
    });
    this.#removeStages(group);
    this.#settled(group, `was rolled back to update ${to}`);
  }

  #cannot(group: Group, standing: RollbackPlan, why: string): void {
    // Somebody has stopped it.
    if (group.refusesWrites || this.#isClosed || this.#claimed.has(group)) return;
    this.#removeStages(group);
    const { name, conditions } = group;
    this.#failedAt.set(group, this.#deps.clock.monotonicMilliseconds());
    const names = shownVolumes(group.volumes)
      .filter(({ catalog }) => standing.volumes.includes(catalog.id))
      .map(({ catalog }) => catalog.name);
    conditions.raise(name, {
      code: 'rollback_stopped',
      severity: 'error',
      message: `volumes ${names.join(', ')} of group ${name} were being rolled back to update ${standing.to}, which cannot go on here: ${why}; hosts are refused until they are rolled back to an update that can be shown here, or left as they are (--at latest)`,
      nextCommand: `jnbd volume rollback ${name} --at ${reachable(group, standing)} --force`,
    });
  }

  #settled(group: Group, what: string): void {
    const text = `group ${group.name} ${what}`;
    group.conditions.clear(group.name, 'rollback_stopped', text);
    this.#event('rollback_ended', group, what);
  }

  #event(code: string, { name }: Group, what: string): void {
    this.#deps.event(code, `group ${name} ${what}`, { group: name });
  }
}

/** The newest position from before it began that can be shown here; latest: there is none. */
function reachable({ views, snapshots }: Group, { number = 0 }: RollbackPlan): string {
  const { from = number } = views.history;
  if (from < number) return String(number - 1);
  const known = snapshots.living.filter((each) => each.number < number && !isHidden(each));
  const last = known.at(-1);
  return last ? `snapshot:${last.name}` : 'latest';
}

function shutOut(group: Group, volume: Volume, number: number): void {
  volume.rollBackTo(number);
  const reason = `volume ${group.name}/${volume.catalog.name} is being rolled back to update ${number}`;
  for (const { client } of volume.sessions) client.revoke(reason);
}

/** Nothing has changed, unless the journal failed: then nobody knows before the next start. */
function letIn(group: Group, volumes: readonly Volume[]): void {
  if (group.state !== 'normal') return;
  for (const volume of volumes) volume.rollBackTo(undefined);
}

/** False: the volumes hold what they are to hold. */
async function gather(rollback: Rollback): Promise<boolean> {
  const target = await openTarget(rollback.group, rollback.to);
  try {
    return await rollback.stage(target);
  } finally {
    target.close();
  }
}
