import type { Group } from '../../group/order/group.ts';
import { generationOf } from '../../group/catalog/lineage.ts';
import type { System } from '../../group/system/system.ts';
import { giveWay, takeOverBy } from '../../group/order/take-over.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { askMember, type Member, type MemberDependencies, membersOf } from '../peers/members.ts';
import type { ToldGroup } from '../protocol/wire-history.ts';

export interface PrimaryWatchDependencies extends MemberDependencies {
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  /** Hosts wait for ever until one member has said that it knows no newer generation. */
  readonly mustConfirm: boolean;
}

/** Who does not answer in that time at the start is taken not to know better, unless somebody has to. */
const startMilliseconds = 2000;
const retryMilliseconds = 250;
/** While it serves, those that do not read are asked so often. */
const askMilliseconds = 10_000;

/**
 * Looks whether another system has begun a newer generation of a group that is primary here (SAFETY 17):
 * before hosts are let in, and all the time.
 */
export class PrimaryWatch {
  readonly #system: System;
  readonly #deps: PrimaryWatchDependencies;
  #timer: Timer | undefined;
  /** By their system ids. */
  readonly #askingBack = new Set<number>();
  #isClosed = false;

  constructor(system: System, deps: PrimaryWatchDependencies) {
    this.#system = system;
    this.#deps = deps;
    for (const group of this.#primaries()) {
      if (membersOf(group).length > 0) {
        group.hosts.close('it is not known yet whether another system has taken over');
      }
    }
  }

  /** Resolves when hosts may be let in, or when there is nothing more to wait for now. */
  async start(): Promise<void> {
    await Promise.all(this.#primaries().map((group) => this.#confirm(group)));
    if (!this.#isClosed) this.#askLater();
  }

  /** Another system of this generation or a newer one asks: it may be a primary that is not known here. */
  asked(group: Group, member: Member, generation: number): void {
    const isNews = generation >= generationOf(group.catalog.lineage);
    if (!isNews || !this.#isPrimary(group) || this.#askingBack.has(member.systemId)) return;
    this.#askingBack.add(member.systemId);
    void this.#ask(group, member, startMilliseconds, true).then(() => {
      this.#askingBack.delete(member.systemId);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #primaries(): Group[] {
    return [...this.#system.groups.values()].filter(({ role }) => role === 'primary');
  }

  async #confirm(group: Group): Promise<void> {
    const members = membersOf(group);
    if (members.length === 0) return;
    const { clock, mustConfirm } = this.#deps;
    const deadline = clock.monotonicMilliseconds() + startMilliseconds;
    let silent: readonly Member[] = members;
    while (silent.length > 0 && this.#isPrimary(group)) {
      const left = deadline - clock.monotonicMilliseconds();
      if (left <= 0) break;
      silent = await this.#askAll(group, silent, left);
      if (silent.length > 0) {
        await this.#pass(Math.min(retryMilliseconds, deadline - clock.monotonicMilliseconds()));
      }
    }
    const hasAnswer = silent.length < members.length;
    if (mustConfirm && !hasAnswer) void this.#confirmForEver(group, members);
    else this.#open(group, silent);
  }

  async #confirmForEver(group: Group, members: readonly Member[]): Promise<void> {
    const names = members.map(({ name }) => name).join(', ');
    group.hosts.close(`none of ${names} has said that it knows no newer generation`);
    group.conditions.raise(group.name, {
      code: 'primary_unconfirmed',
      severity: 'error',
      message: `group ${group.name} is not served: ${group.hosts.closedText}`,
      nextCommand: `jnbd status --connect ${members[0]?.url ?? ''}`,
    });
    let silent = members;
    while (silent.length === members.length && this.#isPrimary(group)) {
      await this.#pass(retryMilliseconds);
      silent = await this.#askAll(group, members, startMilliseconds);
    }
    const text = `group ${group.name} is ${group.role} here`;
    group.conditions.clear(group.name, 'primary_unconfirmed', text);
    this.#open(group, silent);
  }

  #open(group: Group, silent: readonly Member[]): void {
    group.hosts.close('');
    if (silent.length === 0 || !this.#isPrimary(group)) return;
    const names = silent.map(({ name }) => name).join(', ');
    this.#tell(
      'primary_assumed',
      group,
      `group ${group.name} is served though ${names} did not say whether there is a newer generation`,
    );
  }

  /** Those that did not answer. */
  async #askAll(
    group: Group,
    members: readonly Member[],
    milliseconds: number,
  ): Promise<readonly Member[]> {
    const silent: Member[] = [];
    await Promise.all(
      members.map(async (member) => {
        if (!(await this.#ask(group, member, milliseconds))) silent.push(member);
      }),
    );
    return silent;
  }

  /** `isBack`: that one asked, and knows of this system. */
  async #ask(group: Group, member: Member, milliseconds: number, isBack = false): Promise<boolean> {
    try {
      const told = await askMember(this.#deps, this.#system, group, member, milliseconds, isBack);
      if (this.#isPrimary(group)) this.#learn(group, member, told);
      return true;
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      // A system that has the group no more knows of no other generation.
      return error.kind === 'not_found';
    }
  }

  #learn(group: Group, { url }: Member, told: ToldGroup): void {
    const takeOver = takeOverBy(group, told, { ...told, url });
    if (takeOver) {
      giveWay(group, takeOver);
      return;
    }
    const own = group.catalog.lineage.at(-1);
    const other = told.lineage.at(-1);
    const isOther = other !== undefined && other.system !== own?.system;
    const isSame = other?.generation === generationOf(group.catalog.lineage);
    if (told.role !== 'primary' || !isOther || !isSame) {
      const text = `system ${told.name} is no primary of group ${group.name} of this generation`;
      group.conditions.clear(`${group.name} ${told.name}`, 'two_primaries', text);
      return;
    }
    group.conditions.raise(`${group.name} ${told.name}`, {
      code: 'two_primaries',
      severity: 'error',
      message: `group ${group.name} was made primary in generation ${other.generation} here and on system ${told.name}: both serve hosts, and neither has what the other one's wrote`,
      nextCommand: `jnbd promote ${group.name} --force, on the one that is to go on`,
    });
  }

  #askLater(): void {
    this.#timer = this.#deps.clock.after(askMilliseconds, () => {
      void this.#askSilent().then(() => {
        if (!this.#isClosed) this.#askLater();
      });
    });
  }

  /** Whoever reads has told with its position which generation it knows, but not that it is no primary. */
  async #askSilent(): Promise<void> {
    const now = this.#deps.clock.monotonicMilliseconds();
    await Promise.all(
      this.#primaries().map((group) => {
        const silent = membersOf(group).filter(({ systemId, name }) => {
          const heard = group.followers.find(systemId)?.heardMilliseconds;
          const isRival = group.conditions.has(`${group.name} ${name}`, 'two_primaries');
          return isRival || heard === undefined || now - heard > askMilliseconds;
        });
        return this.#askAll(group, silent, startMilliseconds);
      }),
    );
  }

  #isPrimary(group: Group): boolean {
    return (
      !this.#isClosed && this.#system.groups.get(group.name) === group && group.role === 'primary'
    );
  }

  #pass(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(Math.max(0, milliseconds), resolve));
  }

  #tell(code: string, group: Group, message: string): void {
    this.#deps.event(code, message, { group: group.name });
  }
}
