import type { FollowWish } from '../../group/catalog/follow-wish.ts';
import type { FollowState } from '../../group/catalog/follow-file.ts';
import type { Group } from '../../group/order/group.ts';
import { refuseIncomplete } from '../../group/volumes/missing-contents.ts';
import { untilPromotable } from '../../group/roles/promotion.ts';
import type { System, SystemWatcher } from '../../group/system/system.ts';
import { becomeSecondary, isContested, keepNoMore } from '../../group/order/take-over.ts';
import { must } from '../../platform/assert.ts';
import { JnbdError } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import { parseBatchSize, parsePace } from '../../platform/pace-settings.ts';
import { Adoptions } from './adoptions.ts';
import { Comparisons } from './comparisons.ts';
import { resyncFrom } from './follow-resync.ts';
import { leaveRing } from '../peers/follow-ring.ts';
import {
  checkSettings,
  checkStillFollows,
  followState,
  isSameChoice,
  type SourceChoice,
  sourceOf,
} from '../peers/follow-request.ts';
import { Follower } from '../follower/follower.ts';
import type { FollowerDependencies } from '../follower/follower-dependencies.ts';
import { leaseOf } from '../follower/source-lease.ts';
import { handOver } from './handoff.ts';
import { Inheritance } from './inheritance.ts';
import { makeSecondary } from './new-secondary.ts';
import { LostTails } from './lost-tail.ts';
import { partsFromSource } from './parting.ts';
import { checkContents } from '../peers/contents-check.ts';
import { register, registrationOf } from '../peers/registration.ts';
import { goBack } from './new-beginning.ts';
import { forkTold, isToCompare, mayNotFit, withoutRewind } from './rewind.ts';
import { promoteHere, type PromotionWish } from './promote-here.ts';
import { SourceRelief } from './source-relief.ts';
import { leaveSources } from '../peers/sources-left.ts';
import type { ClientCredentials, Transport, TransportClient } from '../transport/transport.ts';
import type { Registered, Registration } from '../protocol/wire-json.ts';

export interface FollowedGroupsDependencies
  extends Omit<FollowerDependencies, 'caller' | 'files' | 'beginResync' | 'refused'> {
  readonly transport: Transport;
  /** Rejects with hook_refused. */
  readonly beforePromote: (group: Group) => Promise<void>;
  /** What was handed over waits for a member that confirms it. */
  readonly mustConfirm: boolean;
  /** For sources at `https:`. */
  readonly credentials: ClientCredentials | undefined;
}

const windowBytes = 16 * MiB;

/** The groups of this system that follow another one, each with its follower. */
export class FollowedGroups implements SystemWatcher {
  readonly #system: System;
  readonly #deps: FollowedGroupsDependencies;
  readonly #followers = new Map<Group, Follower>();
  readonly #adoptions: Adoptions;
  readonly #reliefs = new Map<Group, SourceRelief>();
  readonly comparisons: Comparisons;
  readonly #lostTails: LostTails;
  readonly #inheritance: Inheritance;

  constructor(system: System, deps: FollowedGroupsDependencies) {
    this.#system = system;
    this.#deps = deps;
    this.#inheritance = new Inheritance(system, {
      ...deps,
      promote: (group) => this.promote(group.name, { force: false }),
      parted: (group) => this.#stopFollower(group),
      sourceLineage: (group) => this.#followers.get(group)?.sourceLineage,
    });
    const { clock } = deps;
    this.#adoptions = new Adoptions(system, clock, (group) => this.#inheritance.consider(group));
    this.comparisons = new Comparisons({
      ...deps,
      system,
      caller: this.#caller,
      connect: (url) => this.#connect(url),
      startFollower: (group) => this.#startFollower(group),
      stopFollower: (group) => this.#stopFollower(group),
    });
    this.#lostTails = new LostTails(deps, (group, next) => this.#rewind(group, next, false));
    system.watchers.add(this);
  }

  /** Goes on with what the data directory says. */
  start(): void {
    for (const group of this.#system.groups.values()) {
      if (group.role !== 'secondary') continue;
      if (group.follow.state) this.#startFollower(group);
      this.#inheritance.consider(group);
    }
  }

  find(group: Group): Follower | undefined {
    return this.#followers.get(group);
  }

  /**
   * Follows a group of another system from now on: one that is new here, or one that followed another
   * source. False: it is so already. Rejects with JnbdError; what was followed before still is.
   */
  async follow(wanted: FollowWish): Promise<{ group: Group; changed: boolean }> {
    const group = this.#system.groups.get(wanted.group);
    checkSettings(wanted, group !== undefined);
    if (!group) return { group: await this.#followNew(wanted), changed: true };
    if (group.role === 'primary') {
      const text = `group ${group.name} is primary here; make it a secondary first: jnbd demote ${group.name}`;
      throw new JnbdError('state_refuses', text);
    }
    const { state } = group.follow;
    // What is diverged follows nobody: no command could have let it go on.
    const isSuspended = group.role === 'secondary' && (state?.isSuspended ?? false);
    const next = { ...followState(wanted, state), isSuspended };
    const isToRewind = wanted.rewind && mayNotFit(this.find(group)?.state);
    const isSame = isSameChoice(state, next) && group.role === 'secondary' && !isToRewind;
    if (isSame) return { group, changed: false };
    if (isToRewind && group.catalog.journalOnly)
      return { group: await this.#rewind(group, next, false), changed: true };
    try {
      await this.#switchSource(group, next);
      if (state) void this.#leave(group, state);
      return { group, changed: true };
    } catch (error) {
      if (wanted.rewind && isToCompare(error)) {
        if (group.catalog.journalOnly)
          return { group: await this.#rewind(group, next, false), changed: true };
        await this.#switchSource(group, next, { position: null, compare: true });
        return { group, changed: true };
      }
      const fork = forkTold(error);
      if (fork === undefined) throw error;
      if (!wanted.rewind) throw withoutRewind(group, fork, error as JnbdError);
      return { group: await this.#rewind(group, next, wanted.compare), changed: true };
    }
  }

  /** The source keeps nothing for this system any more, where it can be told so. The copy stays. */
  async unfollow(name: string): Promise<boolean> {
    const group = this.#system.group(name);
    const { state } = group.follow;
    if (!state) return false;
    refuseIncomplete(group, state);
    this.#stopFollower(group);
    group.follow.remove();
    group.checksums.forgetSource('follows nobody any more');
    group.replies.confirmAll();
    await this.#leave(group, state);
    this.#tell('unfollowed', group, `group ${name} follows nobody any more`);
    return true;
  }

  /** Receiving stops until `resume`, also over a restart; the source keeps what comes. */
  suspend(name: string, isSuspended: boolean): boolean {
    const group = this.#system.group(name);
    const { state } = group.follow;
    if (!state || group.role !== 'secondary') {
      const text = `group ${name} follows nobody here: it is ${group.role}`;
      throw new JnbdError('state_refuses', text);
    }
    if (state.isSuspended === isSuspended) return false;
    group.follow.write({ ...state, isSuspended });
    const follower = this.#followers.get(group);
    // Without one it is being compared.
    if (!follower) this.#startFollower(group);
    else if (isSuspended) follower.suspend();
    else follower.resume();
    this.#tell(isSuspended ? 'follow_suspended' : 'follow_resumed', group, state.url);
    return true;
  }

  /** False: it was primary already. A resync under way is taken back. Rejects as `promoteGroup`, and then it follows. */
  async promote(name: string, wish: PromotionWish): Promise<boolean> {
    const group = this.#system.group(name);
    if (group.role === 'primary' && !(wish.force && isContested(group))) return false;
    this.#stopFollower(group);
    try {
      await untilPromotable(group, this.#system.systemId, wish.waitMilliseconds ?? 0);
      // Another command may have let it go on, or was first.
      this.#stopFollower(group);
      if (group.role === 'primary' && !isContested(group)) return false;
      const promoted = await promoteHere(this.#system, group, wish);
      const text = `group ${name} is primary here from update ${promoted.watermarks.newest + 1} on`;
      this.#tell('promoted', promoted, text);
      return true;
    } catch (error) {
      const isToFollow = group.role === 'secondary' && group.state === 'normal';
      if (group.follow.state && isToFollow) this.#startFollower(group);
      throw error;
    }
  }

  /**
   * Makes another system the primary and follows it, once nothing of hosts is on its way: behind the record of the
   * handoff this system takes no writes, whatever becomes of the other (SAFETY 16). Rejects: nothing has changed.
   */
  async handOff(name: string, to: string, waitMilliseconds: number): Promise<number> {
    const group = this.#system.group(name);
    const number = await handOver(this.#deps, this.#system, group, to, waitMilliseconds);
    this.#startFollower(group);
    const text = `group ${name} is handed over to system ${to} behind update ${number}`;
    this.#tell('handed_over', group, text);
    return number;
  }

  groupOpened(): void {
    // Whoever made it decides.
  }

  groupClosing(group: Group): void {
    this.#stopFollower(group);
  }

  close(): void {
    this.#inheritance.close();
    this.comparisons.close();
    for (const relief of this.#reliefs.values()) relief.close();
    for (const follower of this.#followers.values()) follower.close();
    this.#followers.clear();
  }

  async #followNew(wanted: FollowWish): Promise<Group> {
    const { url } = wanted;
    const client = this.#connect(url);
    try {
      const port = this.#deps.listenPort();
      const made = await makeSecondary(this.#system, client, this.#caller, wanted, port);
      const { group, seeds, sourceName } = made;
      if (seeds.length > 0) this.comparisons.beginSeeded(group, seeds);
      else this.#startFollower(group);
      this.#tell('followed', group, `group ${group.name} follows system ${sourceName} at ${url}`);
      return group;
    } finally {
      client.close();
    }
  }

  /**
   * Asked before anything changes: a source that has another history is refused, and nothing happened.
   * `compared`: contents are, because the source does not know what changed.
   */
  async #switchSource(
    group: Group,
    next: SourceChoice,
    compared?: Pick<Registration, 'position' | 'compare'>,
  ): Promise<void> {
    const { follow } = group;
    const { state } = follow;
    const client = this.#connect(next.url);
    try {
      const origin = await this.#registerAt(client, group, next.sourceGroup, compared);
      await leaveRing(client, this.#caller, group, origin.path);
      checkStillFollows(group, state);
      if (!compared) checkContents(group, origin);
      this.#stopFollower(group);
      const { lostBehind: _, ...kept } = follow.state ?? { formatVersion: 1, copies: [], shows: 0 };
      follow.write({ ...kept, ...next, ...sourceOf(origin) });
      becomeSecondary(group, `group ${group.name} follows system ${origin.name}`);
      follow.sourcePath = origin.path;
      if (compared) this.comparisons.begin(group);
      else this.#startFollower(group);
      const text = `group ${group.name} follows system ${origin.name} at ${next.url}`;
      this.#tell('followed', group, text);
    } finally {
      client.close();
    }
  }

  async #leave(group: Group, before: FollowState): Promise<void> {
    leaseOf(group).end();
    const untold = await leaveSources((url) => this.#connect(url), this.#caller, group, before);
    for (const text of untold) this.#tell('unfollow_untold', group, text);
  }

  #registerAt(
    client: TransportClient,
    group: Group,
    sourceGroup?: string,
    otherwise: Partial<Registration> = {},
  ): Promise<Registered> {
    const name = sourceGroup ?? group.follow.state?.sourceGroup ?? group.name;
    const wanted = { ...registrationOf(group, this.#deps.listenPort()), ...otherwise };
    return register(client, this.#caller, name, wanted);
  }

  /** Resolves with the group, opened again. */
  async #rewind(group: Group, next: SourceChoice, mayCompare: boolean): Promise<Group> {
    this.#stopFollower(group);
    const { role } = group;
    const client = this.#connect(next.url);
    const ask = (wanted: Partial<Registration>): Promise<Registered> =>
      this.#registerAt(client, group, next.sourceGroup, wanted);
    const isWanted = (): boolean => group.role === role && !this.#followers.has(group);
    try {
      const parts = { client, caller: this.#caller, clock: this.#deps.clock };
      const comparison = mayCompare ? parts : undefined;
      const deps = { system: this.#system, register: ask, isWanted, comparison };
      const rewound = await goBack(deps, group, next);
      this.#startFollower(rewound.group);
      this.#tell('rewound', rewound.group, rewound.text);
      return rewound.group;
    } catch (error) {
      const isHere = this.#system.groups.get(group.name) === group && isWanted();
      if (isHere) keepNoMore(group);
      if (isHere && group.follow.state && role === 'secondary') this.#startFollower(group);
      throw error;
    } finally {
      client.close();
    }
  }

  #startFollower(group: Group): void {
    this.#stopFollower(group);
    const state = must(group.follow.state, 'a group that follows has a source');
    const { disk, clock, load, event, listenPort } = this.#deps;
    const files = this.#system.filesOf(group);
    const follower = new Follower(
      group,
      this.#adoptions.of(group),
      this.#connect(state.url, state.links),
      {
        pace: { pace: parsePace(state.pace), batchSize: parseBatchSize(state.batchSize) },
        links: state.links,
        whenFull: state.whenFull ?? 'keep',
      },
      {
        clock,
        load,
        event,
        listenPort,
        caller: this.#caller,
        disk,
        files,
        beginResync: (registered, isWanted) => this.#resync(group, registered, isWanted),
        refused: (error) => this.#refused(group, error),
      },
    );
    this.#followers.set(group, follower);
    if ((state.relief ?? []).length > 0) this.#startRelief(group);
    follower.start();
  }

  #refused(group: Group, error: JnbdError): void {
    if (this.#lostTails.takesUp(group, error)) return;
    if (partsFromSource(group, error)) {
      this.#stopFollower(group);
    } else if (error.code === 'position_released' && !group.catalog.journalOnly) {
      this.comparisons.begin(group);
    }
  }

  async #resync(group: Group, registered: Registered, isWanted: () => boolean): Promise<void> {
    const resynced = await resyncFrom(this.#system, group, registered, isWanted);
    this.#tell('resync_begun', resynced.group, resynced.text);
    this.#startFollower(resynced.group);
    this.#inheritance.consider(resynced.group);
  }

  #startRelief(group: Group): void {
    const { clock, event } = this.#deps;
    const relief = new SourceRelief(group, {
      clock,
      event,
      caller: this.#caller,
      connect: (url) => this.#connect(url),
      registerAt: (client) => this.#registerAt(client, group),
      switchSource: (next) => this.#switchSource(group, next),
    });
    this.#reliefs.set(group, relief);
  }

  #stopFollower(group: Group): void {
    this.comparisons.cancel(group);
    this.#reliefs.get(group)?.close();
    this.#reliefs.delete(group);
    this.#followers.get(group)?.close();
    this.#followers.delete(group);
  }

  #connect(url: string, connections = 1): TransportClient {
    const { transport, credentials } = this.#deps;
    const trust = credentials ? { credentials } : {};
    return transport.connect({ url, connections, windowBytes, ...trust });
  }

  get #caller(): { systemId: number; name: string } {
    return { systemId: this.#system.systemId, name: this.#system.name };
  }

  #tell(code: string, group: Group, message: string): void {
    this.#deps.event(code, message, { group: group.name });
  }
}
