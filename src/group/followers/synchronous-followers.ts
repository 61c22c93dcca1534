import type { Watermarks } from '../../journal/watermarks.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { messageOf } from '../../platform/errors.ts';
import { aheadUpdatesMax } from '../../platform/limits.ts';
import { type Errno, errno } from '../apply/export.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Conditions } from '../catalog/conditions.ts';
import {
  coveredBy,
  type Protection,
  type ProtectionChange,
  synchronousDefaults,
} from '../catalog/protection.ts';
import type { GroupRole, GroupState } from '../catalog/states.ts';
import type { FollowerCursor } from './follower-cursor.ts';
import { FollowerLeases } from './follower-leases.ts';
import {
  namesOf,
  tellAway,
  tellProtection,
  tellStall,
  unprotectedText,
} from './synchronous-notices.ts';
import {
  decideProtection,
  rulesOf,
  type SynchronousDecision,
  type SynchronousState,
  type SynchronousView,
} from './synchronous-policy.ts';

/** One that misses no more than this is soon in step: replies hardly wait for it. */
const nearUpdates = 1000;
const retryMilliseconds = 1000;

/** What waits at the gate. */
interface GatedReplies {
  readonly gate: { readonly answerable: number; readonly acknowledged: number };
  waitForFollowers(acknowledged: number, found?: number): void;
  setAcknowledged(number: number): void;
  waitForNobody(): void;
  failWaiting(error: Errno, text: string): void;
  foundConfirmed(confirmed: number, found: number): void;
  confirmThrough(number: number): void;
}

interface SynchronousGroup {
  readonly name: string;
  readonly role: GroupRole;
  readonly state: GroupState;
  readonly failureText: string;
  readonly catalog: Catalog;
  readonly follow: { readonly state: { readonly shows: number } | undefined };
  readonly watermarks: Watermarks;
  readonly conditions: Conditions;
  readonly replies: GatedReplies;
  readonly followers: {
    readonly count: number;
    list(): readonly FollowerCursor[];
    find(systemId: number): FollowerCursor | undefined;
  };
  readonly changes: { replaceSoon(catalog: Catalog): void };
  changed(): void;
}

/** Appends a numbered change; `appending` is called when it is about to be numbered. */
type RecordProtection = (change: ProtectionChange, appending: () => void) => Promise<void>;

interface Dependencies {
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/**
 * Who replies to hosts wait for: keeps the group's protection as the settings want it, by numbered records,
 * and lets replies go by every rule that a follower may still go by.
 *
 * Replies wait from the number of the record on that says so, and it is numbered before any of them. They stop
 * waiting once the record that says that is durable here, and every member of the rule before either has it, or
 * has not been heard for so long that it does not trust what it has (SAFETY 23). A crash at any line leaves the
 * rule in the catalog that is true of what was answered, or a stricter one.
 */
export class SynchronousFollowers {
  readonly #deps: Dependencies;
  readonly #group: SynchronousGroup;
  readonly #record: RecordProtection;
  readonly #leases: FollowerLeases;
  #timer: Timer | undefined;
  #isRecording = false;
  #retryAtMilliseconds = 0;
  #roleLostMilliseconds: number | undefined;
  #protectionLost: Protection | undefined;
  #isDue = false;
  #isClosed = false;
  /** Of whom it is told that they are away. */
  #away: readonly string[] = [];

  constructor(deps: Dependencies, group: SynchronousGroup, record: RecordProtection) {
    this.#deps = deps;
    this.#group = group;
    this.#record = record;
    this.#leases = new FollowerLeases(deps.clock, group, () => group.changed());
  }

  /**
   * As the catalog says, before anything is applied or served: what was found in the journal may have been
   * held. Leases begin now, later than any that a follower may count on.
   */
  start(): void {
    const { catalog, watermarks, role, replies } = this.#group;
    const rules = role === 'primary' ? rulesOf(catalog.protection) : [];
    for (const { members } of rules) {
      for (const { systemId } of members) this.#leases.know(systemId, 'in-step');
    }
    const [first] = rules;
    if (first) {
      // What was answered before the first of them is no concern of theirs.
      const answered = Math.min(...rules.map(({ number }) => number)) - 1;
      replies.waitForFollowers(Math.min(answered, watermarks.durable), watermarks.durable);
      this.#updateGate();
    }
    if (role === 'secondary') this.#holdForSource();
    tellProtection(this.#group, role === 'primary');
    this.considerSoon();
  }

  /**
   * Of what was found here the source may not have the last updates durably: it sends that far ahead, and
   * nobody noted how far it was. What was applied, or came as contents, and changes of the catalog it had; and
   * to whom somebody follows it sends nothing ahead.
   */
  #holdForSource(): void {
    const { catalog, follow, followers, watermarks, replies } = this.#group;
    const { applied, durable } = watermarks;
    if (!catalog.protection || !follow.state || catalog.journalOnly || followers.count > 0) return;
    const had = Math.max(applied, catalog.number, follow.state.shows, durable - aheadUpdatesMax);
    if (had < durable) replies.foundConfirmed(had, durable);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** Of a follower that is registered as synchronous; undefined: it is not. */
  stateOf(systemId: number): SynchronousState | undefined {
    const cursor = this.#group.followers.find(systemId);
    if (cursor?.synchronous !== true) return undefined;
    return this.#leases.stateOf(systemId) ?? 'catching-up';
  }

  /**
   * Whether the source may confirm what this follower acknowledged last, by which it counts its own lease:
   * not while it is about to be lost, nor before it has the record that it is to go by.
   */
  confirms(systemId: number): boolean {
    const { role, catalog } = this.#group;
    const { protection } = catalog;
    if (role !== 'primary' || protection?.state !== 'protected') return false;
    if (!this.#isInStep(systemId)) return false;
    return (this.#group.followers.find(systemId)?.received ?? 0) >= protection.number;
  }

  #isInStep(systemId: number): boolean {
    return this.#leases.stateOf(systemId) === 'in-step' && !this.#leases.isDoubted(systemId);
  }

  /** A follower said how far it is. */
  heard(cursor: FollowerCursor): void {
    const isKnown = this.#leases.heard(cursor);
    if (!isKnown && cursor.synchronous !== true) return;
    this.#updateGate();
    const { systemId } = cursor;
    const isSettled = rulesOf(this.#group.catalog.protection).length < 2;
    if (!isSettled || !this.#isInStep(systemId)) this.considerSoon();
  }

  /** A follower said itself that it follows no more: it trusts nothing of what it was told. */
  gaveUp(systemId: number): void {
    this.#leases.forget(systemId);
    this.considerSoon();
  }

  /** A record came from the group's source. */
  told(): void {
    tellProtection(this.#group, false);
    this.#group.changed();
  }

  /** Role, state, settings or followers may be others. */
  considerSoon(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    this.#deps.clock.soon(() => {
      this.#isDue = false;
      this.#consider();
    });
  }

  get #isWaitedFor(): boolean {
    return Number.isFinite(this.#group.replies.gate.acknowledged);
  }

  #now(): number {
    return this.#deps.clock.monotonicMilliseconds();
  }

  #consider(): void {
    if (this.#isClosed || this.#group.state === 'closing' || this.#group.state === 'closed') return;
    this.#timer?.cancel();
    this.#timer = undefined;
    const isPrimary = this.#group.role === 'primary';
    tellProtection(this.#group, isPrimary);
    if (isPrimary) {
      this.#roleLostMilliseconds = undefined;
      this.#protectionLost = undefined;
      this.#leases.look();
      this.#endRules();
      this.#updateGate();
      this.#decide();
    } else {
      this.#tellAwayOnly([]);
      tellStall(this.#group, undefined, 0);
      this.#group.replies.confirmThrough(this.#group.catalog.number);
      this.#endRole();
    }
    if (this.#leases.isEmpty && !this.#isWaitedFor) return;
    const next = Math.max(1, this.#leases.nextMilliseconds() - this.#now());
    this.#timer = this.#deps.clock.after(Math.min(next, retryMilliseconds), () => this.#consider());
  }

  /** Older rules, once nobody goes by them. What the file says meanwhile is stricter than need be. */
  #endRules(): void {
    const { catalog } = this.#group;
    const { protection } = catalog;
    if (!protection || protection.believed.length === 0) return;
    const believed = protection.believed.filter(
      (rule) => !this.#leases.isOver(rule, protection.number),
    );
    if (believed.length === protection.believed.length) return;
    this.#group.changes.replaceSoon({ ...catalog, protection: { ...protection, believed } });
  }

  #updateGate(): void {
    const { replies, catalog, followers, role } = this.#group;
    if (!this.#isWaitedFor) return;
    const rules = rulesOf(catalog.protection);
    if (rules.length === 0) {
      if (role === 'primary' && !this.#isRecording) replies.waitForNobody();
      return;
    }
    const received = (systemId: number): number => followers.find(systemId)?.received ?? 0;
    replies.setAcknowledged(Math.min(...rules.map((rule) => coveredBy(rule, received))));
  }

  #decide(): void {
    const { catalog, state } = this.#group;
    if (this.#isRecording || state !== 'normal' || this.#now() < this.#retryAtMilliseconds) return;
    const settings = catalog.synchronous ?? synchronousDefaults;
    const views = this.#views();
    const decision = decideProtection(catalog.protection, views, settings);
    this.#tellAway(views, decision);
    tellStall(
      this.#group,
      decision.kind === 'stall' ? decision : undefined,
      this.#group.replies.gate.answerable,
    );
    if (decision.kind === 'protect' || decision.kind === 'unprotect') void this.#change(decision);
  }

  #views(): SynchronousView[] {
    const { followers, watermarks } = this.#group;
    return followers
      .list()
      .filter(({ synchronous }) => synchronous === true)
      .map(({ systemId, name, state, received }) => ({
        systemId,
        name,
        state: this.#leases.know(systemId),
        isNear: state === 'following' && watermarks.newest - received <= nearUpdates,
      }));
  }

  #tellAway(views: readonly SynchronousView[], decision: SynchronousDecision): void {
    const { protection } = this.#group.catalog;
    const isOne = protection?.state !== 'protected' || decision.kind !== 'none';
    const lost = isOne ? [] : views.filter(({ state }) => state === 'lost');
    this.#tellAwayOnly(lost.map(({ name }) => name));
  }

  /** Whoever was away and is not any more may be asynchronous now, or not registered. */
  #tellAwayOnly(away: readonly string[]): void {
    for (const name of this.#away) {
      if (!away.includes(name)) tellAway(this.#group, name, false);
    }
    for (const name of away) tellAway(this.#group, name, true);
    this.#away = away;
  }

  async #change(
    decision: Extract<SynchronousDecision, { kind: 'protect' | 'unprotect' }>,
  ): Promise<void> {
    const { clock } = this.#deps;
    const { catalog, replies, watermarks } = this.#group;
    const { protection } = catalog;
    const isUnprotected = protection?.state === 'unprotected';
    const believed = rulesOf(protection);
    const atMilliseconds = clock.wallMilliseconds();
    const change: ProtectionChange =
      decision.kind === 'protect'
        ? { state: 'protected', ...decision.rule, atMilliseconds, believed }
        : {
            state: 'unprotected',
            // The promise does not hold since then, whoever is missed now.
            behind: isUnprotected
              ? protection.behind
              : Math.min(replies.gate.acknowledged, watermarks.newest, this.#had(protection)),
            members: decision.members,
            lost: decision.lost,
            atMilliseconds: isUnprotected ? protection.atMilliseconds : atMilliseconds,
            believed,
          };
    this.#isRecording = true;
    try {
      await this.#record(change, () => {
        if (decision.kind !== 'protect') return;
        for (const { systemId } of decision.rule.members) this.#leases.join(systemId);
        if (!this.#isWaitedFor) replies.waitForFollowers(watermarks.newest);
      });
      if (decision.kind === 'unprotect') this.#leases.release();
      this.#tellChanged();
    } catch (error) {
      this.#retryAtMilliseconds = this.#now() + retryMilliseconds;
      this.#event('sync_not_recorded', messageOf(error));
    } finally {
      this.#isRecording = false;
    }
    this.considerSoon();
  }

  /** One that was lost before it had what there was when it was waited for misses of that, too. */
  #had(protection: Protection | undefined): number {
    if (protection?.state !== 'protected') return Number.POSITIVE_INFINITY;
    const { followers } = this.#group;
    const received = (systemId: number): number =>
      followers.find(systemId)?.received ?? Number.POSITIVE_INFINITY;
    return coveredBy(protection, received);
  }

  #tellChanged(): void {
    const { name, catalog } = this.#group;
    const { protection } = catalog;
    if (protection?.state === 'protected') {
      const { members, needed, number } = protection;
      const text = `replies to hosts of group ${name} wait for ${needed} of ${namesOf(members)} from update ${number} on`;
      this.#event('sync_protected', text);
    } else if (protection) {
      const { lost } = protection;
      const text =
        lost.length > 0
          ? `group ${name}: ${unprotectedText(protection, lost)}`
          : `replies to hosts of group ${name} wait for no follower any more, by command`;
      this.#event('sync_unprotected', text);
    }
    this.#group.changed();
  }

  #event(code: string, message: string): void {
    this.#deps.event(code, message, { group: this.#group.name });
  }

  /**
   * Hosts write elsewhere from now on. Where the group was given away the heir gets everything: who waits is
   * answered once it has. Whoever waits for longer, or where another one took over, is told that it failed.
   */
  #endRole(): void {
    const { replies, role, watermarks, failureText, catalog, changes } = this.#group;
    if (!this.#isWaitedFor) return;
    const now = this.#now();
    this.#protectionLost ??= catalog.protection;
    this.#roleLostMilliseconds ??= now;
    const waited = now - this.#roleLostMilliseconds;
    const isAnswered = replies.gate.acknowledged >= watermarks.newest;
    const isGivenAway = role === 'secondary';
    if (!isAnswered && isGivenAway && waited < this.#leases.timeoutMilliseconds) return;
    if (!isAnswered) replies.failWaiting(errno.EIO, failureText);
    this.#leases.clear();
    replies.waitForNobody();
    // Unless a new primary has said something since.
    if (catalog.protection === this.#protectionLost)
      changes.replaceSoon({ ...catalog, protection: undefined });
  }
}
