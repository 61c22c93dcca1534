import type { Group } from '../group/order/group.ts';
import { allowFollower } from '../group/system/followers-allowed.ts';
import { demoteGroup } from '../group/roles/demotion.ts';
import { expectBranch } from '../group/system/branches.ts';
import type { Rollbacks } from '../group/system/rollbacks.ts';
import type { System } from '../group/system/system.ts';
import { checkHeard, knownLoss, membersToHear } from '../group/roles/known-loss.ts';
import { promotionObstacle } from '../group/roles/promotion.ts';
import { checkNumber } from '../group/roles/promotion-at.ts';
import { goesBack } from '../group/roles/promotion-back.ts';
import { pastUpdateAt } from '../group/roles/update-at.ts';
import { isContested } from '../group/order/take-over.ts';
import { JnbdError } from '../platform/errors.ts';
import { formatBatchSize, formatPace } from '../platform/pace-settings.ts';
import type { Following } from './following.ts';
import { takenBackBy } from './rollback-verbs.ts';
import type { Parameters, Result } from './schema.ts';
import type { GroupStatus } from './schema-status.ts';
import type { StatusReport } from './status.ts';

export interface FollowVerbSources {
  readonly system: System;
  readonly report: StatusReport;
  readonly following: Following;
  readonly rollbacks: Rollbacks;
  /** Rejects with hook_refused. */
  readonly beforePromote: (group: Group) => Promise<void>;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const handOffMillisecondsDefault = 30_000;

/** Carries out the verbs about following and being followed. */
export class FollowVerbs {
  readonly #sources: FollowVerbSources;

  constructor(sources: FollowVerbSources) {
    this.#sources = sources;
  }

  async follow(parameters: Parameters<'follow'>): Promise<Result<'follow'>> {
    const { pace, batchSize, links, whenFull, relief, seed, journalSize, journalDir } = parameters;
    const { group, changed } = await this.#sources.following.follow({
      group: parameters.group,
      url: parameters.from,
      sourceGroup: parameters.sourceGroup,
      journalOnly: parameters.journalOnly ?? false,
      rewind: parameters.rewind ?? false,
      compare: parameters.compare ?? false,
      pace: pace && formatPace(pace),
      batchSize: batchSize === undefined ? undefined : formatBatchSize(batchSize),
      links,
      whenFull,
      synchronous: synchronousOf(parameters),
      relief,
      seeds: seed ?? [],
      settings: {
        ...(journalSize === undefined ? {} : { journalCapacityBytes: journalSize }),
        ...(journalDir === undefined ? {} : { journalDirectories: journalDir }),
      },
    });
    return this.#groupResult(group, changed);
  }

  async unfollow({ group }: Parameters<'unfollow'>): Promise<Result<'unfollow'>> {
    const changed = await this.#sources.following.unfollow(group);
    return this.#groupResult(this.#sources.system.group(group), changed);
  }

  suspend({ group }: Parameters<'suspend'>, isSuspended: boolean): Promise<Result<'suspend'>> {
    const changed = this.#sources.following.suspend(group, isSuspended);
    return Promise.resolve(this.#groupResult(this.#sources.system.group(group), changed));
  }

  /** Before anything changes the fencing hook is asked: where it says no the group stays as it is. */
  async promote({
    group: name,
    force,
    dryRun = false,
    at: text,
  }: Parameters<'promote'>): Promise<Result<'promote'>> {
    const { following, report, system, beforePromote } = this.#sources;
    const group = system.group(name);
    const isContest = force === true && isContested(group);
    const { lost, position, rollsBack } = lossOf(group, report.group(group));
    const obstacle =
      group.role === 'primary' ? undefined : promotionObstacle(group, system.systemId);
    const at = text === undefined ? undefined : await pastUpdateAt(system.disk, group, text);
    const isEarlier = at !== undefined && at !== group.watermarks.newest;
    const isBack = isEarlier && goesBack(group, at);
    const isCut = isEarlier && !isBack && group.role !== 'primary';
    if (isCut) checkNumber(group, at);
    const rollback = isBack ? await this.#takenBack(group, at) : null;
    const files = system.filesOf(group);
    const branch = isCut ? expectBranch(system.disk, group, files, at) : undefined;
    const { systemId } = system;
    const isPrimary = group.role === 'primary';
    const lease = following.upstream(group)?.leaseMilliseconds ?? 0;
    const isAsked = dryRun || membersToHear(group, systemId) > 1;
    const others = isPrimary ? [] : await following.others(group, isAsked);
    const loss = isPrimary ? null : knownLoss(group, systemId, lease, isAsked ? others : undefined);
    if (!dryRun && force !== true) checkHeard(group, systemId, others);
    if (!dryRun && (!isPrimary || isContest)) await beforePromote(group);
    const changed = dryRun ? false : await following.promote(name, force ?? false, at);
    // What only takes a moment is waited for, unless it is to be as of an earlier update.
    const isRefused = obstacle?.ends !== 'by itself' || at !== undefined;
    const isDone = group.role === 'primary' && !changed;
    return {
      result: changed ? 'done' : isDone ? 'already_done' : 'would_be_done',
      position: at ?? position,
      lost,
      loss,
      rollsBack,
      branch: branch ? { first: branch.first, newest: branch.newest, bytes: branch.bytes } : null,
      rollback,
      others: others.map(({ systemId: _, ...each }) => each),
      obstacle: dryRun && isRefused ? (obstacle?.text ?? null) : null,
      group: report.group(system.group(name)),
    };
  }

  async #takenBack(group: Group, at: number): Promise<Result<'promote'>['rollback']> {
    const { system, rollbacks } = this.#sources;
    try {
      return await takenBackBy(system.disk, group, await rollbacks.estimate(group, 'all', at));
    } catch (cause) {
      if (!(cause instanceof JnbdError)) throw cause;
      throw notBack(group, at, cause);
    }
  }

  async demote({ group: name }: Parameters<'demote'>): Promise<Result<'demote'>> {
    const { system, event } = this.#sources;
    const group = system.group(name);
    const changed = await demoteGroup(group);
    if (changed)
      event('demoted', `group ${name} is secondary here and follows nobody`, { group: name });
    return this.#groupResult(group, changed);
  }

  async handOff(parameters: Parameters<'handoff'>): Promise<Result<'handoff'>> {
    const { following, report, system } = this.#sources;
    const { group: name, to, timeout = handOffMillisecondsDefault } = parameters;
    const position = await following.handOff(name, to, timeout);
    return { result: 'done', position, group: report.group(system.group(name)) };
  }

  allow(parameters: Parameters<'secondary allow'>): Promise<Result<'secondary allow'>> {
    const group = this.#sources.system.group(parameters.group);
    return Promise.resolve(this.#groupResult(group, allowFollower(group, parameters.secondary)));
  }

  async add(parameters: Parameters<'secondary add'>): Promise<Result<'secondary add'>> {
    const { group: name, secondary, url, groupName: groupThere, journalSize } = parameters;
    const { group, changed } = await this.#sources.following.addSecondary({
      group: name,
      secondary,
      url,
      groupThere,
      journalOnly: parameters.journalOnly ?? false,
      synchronous: parameters.sync,
      journalCapacityBytes: journalSize,
    });
    return this.#groupResult(group, changed);
  }

  async remove({
    group: name,
    secondary,
  }: Parameters<'secondary remove'>): Promise<Result<'secondary remove'>> {
    const { following } = this.#sources;
    const { group, changed } = await following.removeSecondary(name, secondary);
    return this.#groupResult(group, changed);
  }

  #groupResult(group: Group, changed: boolean): Result<'follow'> {
    const { report } = this.#sources;
    return { result: changed ? 'done' : 'already_done', group: report.group(group) };
  }
}

/** Undefined: as it was. Throws argument_invalid. */
function synchronousOf({ sync, noSync }: Parameters<'follow'>): boolean | undefined {
  if (sync && noSync)
    throw new JnbdError('argument_invalid', 'follow: --sync and --no-sync exclude each other');
  return sync ? true : noSync ? false : undefined;
}

/** What can be left out, and why the rest cannot be put back. */
function notBack(group: Group, at: number, cause: JnbdError): JnbdError {
  try {
    checkNumber(group, at);
  } catch (error) {
    if (!(error instanceof JnbdError)) throw error;
    const text = `${error.message}; nor can its volumes be rolled back: ${cause.message}`;
    return new JnbdError('state_refuses', text, { cause });
  }
  return cause;
}

/** What a promotion keeps, and what it loses of what the source is known to have. */
function lossOf(
  { follow, watermarks, clock }: Group,
  { upstream }: GroupStatus,
): Pick<Result<'promote'>, 'position' | 'lost' | 'rollsBack'> {
  const missing = upstream?.lag.received ?? { updates: 0, bytes: 0, seconds: 0 };
  const { newest } = watermarks;
  const consistent = follow.state?.resync?.consistentAt;
  if (!consistent) return { position: newest, lost: missing, rollsBack: false };
  const { number, atMilliseconds } = consistent;
  const ageMilliseconds = atMilliseconds === null ? 0 : clock.wallMilliseconds() - atMilliseconds;
  const lost = {
    updates: missing.updates + Math.max(0, newest - number),
    bytes: missing.bytes + (upstream?.contents?.missingBytes ?? 0),
    seconds: Math.max(missing.seconds, ageMilliseconds / 1000),
  };
  return { position: number, lost, rollsBack: true };
}
