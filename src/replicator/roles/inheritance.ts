import { generationOf, type Lineage, stretchOf } from '../../group/catalog/lineage.ts';
import { followCommand } from '../../group/catalog/taken-over.ts';
import type { Group } from '../../group/order/group.ts';
import { giveWay, takeOverBy } from '../../group/order/take-over.ts';
import { promotionObstacle } from '../../group/roles/promotion.ts';
import type { System } from '../../group/system/system.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { askMember, type Member, type MemberDependencies, membersOf } from '../peers/members.ts';
import type { ToldGroup } from '../protocol/wire-history.ts';
import { isGivenTo } from './handoff.ts';

export interface InheritanceDependencies extends MemberDependencies {
  readonly clock: Clock;
  /** Nothing is taken over until one member has said that it knows no newer generation. */
  readonly mustConfirm: boolean;
  /** Rejects with hook_refused. */
  readonly beforePromote: (group: Group) => Promise<void>;
  readonly promote: (group: Group) => Promise<unknown>;
  /** The group is diverged: it follows nobody any more. */
  readonly parted: (group: Group) => void;
  /** Of the system that the group follows, as it said last. */
  readonly sourceLineage: (group: Group) => Lineage | undefined;
}

/** What the giver said, or that nothing else stands against it; `wait`: it is not to be taken over now. */
type Word = 'confirmed' | 'giver silent' | 'wait';

/** Who gave the group away and does not answer in that time is taken to be gone, unless somebody has to. */
const giverMilliseconds = 2000;
/** Of the others each is asked once: hosts wait meanwhile. */
const othersMilliseconds = 1000;
const retryMilliseconds = 200;
/** The giver is asked so often, after a take-over that it did not confirm. */
const askAgainMilliseconds = 10_000;

/**
 * Makes this system the primary of groups that were handed over to it. The record may come late, through a
 * system in between, and by force another generation may have begun meanwhile: so whoever has the group is
 * asked first, the giver above all (SAFETY 16, 17). Where the giver is silent what it gave holds, unless
 * somebody else knows of a newer generation.
 */
export class Inheritance {
  readonly #system: System;
  readonly #deps: InheritanceDependencies;
  readonly #underWay = new Set<Group>();
  #isClosed = false;

  constructor(system: System, deps: InheritanceDependencies) {
    this.#system = system;
    this.#deps = deps;
  }

  /** The group, its history, or whom it follows is another: it may be this system's now. */
  consider(group: Group): void {
    if (this.#underWay.has(group) || !this.#isGiven(group)) return;
    this.#underWay.add(group);
    void this.#takeOver(group).finally(() => this.#underWay.delete(group));
  }

  close(): void {
    this.#isClosed = true;
  }

  async #takeOver(group: Group): Promise<void> {
    while (this.#isGiven(group)) {
      const word = await this.#confirm(group);
      const giver = this.#giverOf(group);
      const isDone = word !== 'wait' && (await this.#promote(group));
      if (isDone && word === 'giver silent' && giver) await this.#untilHeard(group, giver);
      if (this.#isGiven(group)) await this.#pass(retryMilliseconds);
    }
    const text = `group ${group.name} is ${group.role} here`;
    group.conditions.clear(group.name, 'handoff_unconfirmed', text);
  }

  async #confirm(group: Group): Promise<Word> {
    const { clock, mustConfirm } = this.#deps;
    if (!isWhole(group, this.#system.systemId)) return 'wait';
    const deadline = clock.monotonicMilliseconds() + giverMilliseconds;
    const heard = new Set<number>();
    const tried = new Set<number>();
    for (;;) {
      const left = deadline - clock.monotonicMilliseconds();
      await this.#askRound(group, heard, tried, Math.max(1, left));
      if (!this.#isGiven(group)) return 'wait';
      const giver = this.#giverOf(group);
      if (giver && heard.has(giver.systemId)) return 'confirmed';
      const rest = deadline - clock.monotonicMilliseconds();
      if (rest <= 0) break;
      await this.#pass(Math.min(retryMilliseconds, rest));
    }
    if (!mustConfirm || heard.size > 0) return 'giver silent';
    raiseWaiting(group, this.#members(group));
    return 'wait';
  }

  /** The giver until it answers, wherever it turns out to be; everybody else once. */
  async #askRound(
    group: Group,
    heard: Set<number>,
    tried: Set<number>,
    milliseconds: number,
  ): Promise<void> {
    const giver = this.#giverOf(group)?.systemId;
    const asking = this.#members(group).map(async (member) => {
      const { systemId } = member;
      const isGiver = systemId === giver;
      if (heard.has(systemId) || (tried.has(systemId) && !isGiver)) return;
      tried.add(systemId);
      const limit = isGiver ? milliseconds : Math.min(milliseconds, othersMilliseconds);
      if ((await this.#ask(group, member, limit)) === 'told') heard.add(systemId);
    });
    await Promise.all(asking);
  }

  /** What was said holds as long as a hook takes, and no longer. False: try again. */
  async #promote(group: Group): Promise<boolean> {
    const { clock, beforePromote, promote } = this.#deps;
    const askedAt = clock.monotonicMilliseconds();
    try {
      await beforePromote(group);
      if (clock.monotonicMilliseconds() - askedAt > retryMilliseconds) {
        const asking = this.#members(group).map((each) =>
          this.#ask(group, each, othersMilliseconds),
        );
        await Promise.all(asking);
      }
      // A repair that began meanwhile would be taken back, and what came since with it.
      if (!this.#isGiven(group) || !isWhole(group, this.#system.systemId)) return false;
      await promote(group);
      return true;
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      return false;
    }
  }

  /** `gone`: it has the group no more, or at its address is another system now. */
  async #ask(
    group: Group,
    member: Member,
    milliseconds: number,
  ): Promise<'told' | 'gone' | 'silent'> {
    try {
      const told = await askMember(this.#deps, this.#system, group, member, milliseconds, true);
      if (this.#isGiven(group)) this.#learn(group, member, told);
      return told.systemId === member.systemId ? 'told' : 'gone';
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      return error.kind === 'not_found' ? 'gone' : 'silent';
    }
  }

  /**
   * A newer generation was begun: where it goes on behind all that is here this system follows it as before, and
   * where it parted before that a command decides (SAFETY 21).
   */
  #learn(group: Group, { url }: Member, told: ToldGroup): void {
    const { catalog, watermarks } = group;
    const takeOver = takeOverBy(group, told, { ...told, url });
    if (!takeOver) return;
    const known = generationOf(catalog.lineage);
    const begun = told.lineage.find(({ generation }) => generation > known);
    if (begun && begun.firstNumber <= watermarks.newest) {
      giveWay(group, takeOver);
      this.#deps.parted(group);
      return;
    }
    const holder = told.lineage.at(-1)?.system;
    const { systemId: to, name } =
      this.#members(group).find(({ systemId }) => systemId === holder) ?? told;
    group.changes.replaceSoon({ ...catalog, handedOver: { to, name } });
    const fork = watermarks.newest;
    group.conditions.raise(group.name, {
      code: 'handoff_taken_back',
      severity: 'warning',
      message: `group ${group.name} was handed over to this system, and generation ${takeOver.generation} was begun elsewhere since, says system ${told.name}: it stays secondary here`,
      nextCommand: followCommand({ ...catalog, takenOver: { ...takeOver, fork } }, fork),
    });
    void this.#untilSettled(group, to, takeOver.generation);
  }

  /** Until the system that it follows has that generation, or a command decided otherwise. */
  async #untilSettled(group: Group, to: number, generation: number): Promise<void> {
    const isOpen = (): boolean =>
      group.role === 'secondary' &&
      group.catalog.handedOver?.to === to &&
      this.#isThere(group) &&
      generationOf(this.#deps.sourceLineage(group) ?? []) < generation;
    while (isOpen()) await this.#pass(retryMilliseconds);
    const text = `group ${group.name} is ${group.role} here`;
    group.conditions.clear(group.name, 'handoff_taken_back', text);
  }

  /** It may have taken the group back, and not know of this system yet. */
  async #untilHeard(group: Group, giver: Member): Promise<void> {
    raiseUnconfirmed(group, giver);
    const isKnown = (): boolean =>
      membersOf(group).some(({ systemId }) => systemId === giver.systemId);
    const isHeard = (): boolean =>
      group.followers.find(giver.systemId)?.heardMilliseconds !== undefined;
    while (group.role === 'primary' && this.#isThere(group) && isKnown() && !isHeard()) {
      await this.#pass(askAgainMilliseconds);
      if ((await this.#ask(group, giver, giverMilliseconds)) !== 'silent') break;
    }
    const text = `system ${giver.name} was heard, or is of group ${group.name} no more`;
    group.conditions.clear(group.name, 'handoff_unconfirmed', text);
  }

  /** The source may be known before it has said who else there is. */
  #members(group: Group): Member[] {
    const { state } = group.follow;
    const members = membersOf(group);
    if (!state || members.some(({ systemId }) => systemId === state.sourceSystemId)) return members;
    return [...members, { systemId: state.sourceSystemId, name: state.sourceName, url: state.url }];
  }

  /** Undefined: nobody knows where it is. */
  #giverOf(group: Group): Member | undefined {
    const { lineage, number } = group.catalog;
    const giver = stretchOf(lineage, number)?.system;
    return this.#members(group).find(({ systemId }) => systemId === giver);
  }

  #isThere(group: Group): boolean {
    return !this.#isClosed && this.#system.groups.get(group.name) === group;
  }

  #isGiven(group: Group): boolean {
    const lineage = this.#deps.sourceLineage(group);
    return this.#isThere(group) && isGivenTo(group, this.#system.systemId, lineage);
  }

  #pass(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(Math.max(0, milliseconds), resolve));
  }
}

/** A command may take a resync back, and loses what came since: a handoff loses nothing. */
function isWhole(group: Group, systemId: number): boolean {
  const isResyncing = group.follow.state?.resync !== undefined;
  return group.state === 'normal' && !isResyncing && !promotionObstacle(group, systemId);
}

function raiseWaiting({ name, conditions }: Group, silent: readonly Member[]): void {
  const names = silent.map((member) => member.name).join(', ') || 'its other systems';
  conditions.raise(name, {
    code: 'handoff_unconfirmed',
    severity: 'error',
    message: `group ${name} was handed over to this system, and is nobody's until one of ${names} has said that it knows no newer generation`,
    nextCommand: `jnbd promote ${name}`,
  });
}

function raiseUnconfirmed({ name, conditions }: Group, giver: Member): void {
  conditions.raise(name, {
    code: 'handoff_unconfirmed',
    severity: 'warning',
    message: `group ${name} was handed over to this system and is primary here, though system ${giver.name}, which gave it away, did not say whether it took it back: if it did, both serve hosts; it is asked again every 10 seconds, and where it is gone for good: jnbd secondary remove ${name} ${giver.name}`,
    nextCommand: `jnbd status --connect ${giver.url}`,
  });
}
