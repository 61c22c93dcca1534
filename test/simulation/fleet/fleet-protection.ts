import type { Group } from '../../../src/group/order/group.ts';
import {
  heardNeeded,
  isOfEarlierGeneration,
  type Protection,
} from '../../../src/group/catalog/protection.ts';
import {
  rulesOf,
  synchronousTransitions,
} from '../../../src/group/followers/synchronous-policy.ts';
import { agreesAt, positionOf, type Stretch } from '../../../src/group/catalog/lineage.ts';
import { leaseOf } from '../../../src/replicator/follower/source-lease.ts';
import type { FaultCounter } from '../faults.ts';
import type { FleetMember } from './fleet-member.ts';

/** What campaigns with synchronous followers have to bring about. */
export const protectionKinds: readonly string[] = [
  ...Object.entries(synchronousTransitions).flatMap(([from, all]) =>
    all.map((to) => `synchronous ${from} -> ${to}`),
  ),
  ...['sync_protected', 'sync_unprotected', 'sync_lost', 'sync_lost_cleared'].map(
    (code) => `event ${code}`,
  ),
  ...['sync_stalled', 'sync_stalled_cleared'].map((code) => `event ${code}`),
  'zero loss proved',
  'zero loss promoted',
];

type Protected = Extract<Protection, { state: 'protected' }>;

/** One that follows, and would say now that its promotion loses nothing. */
interface Claim {
  readonly member: FleetMember;
  readonly group: Group;
  readonly rule: Protected;
}

/**
 * What followers are waited for means (SAFETY 22 to 24), after every event: a host was answered nothing that
 * not enough members of each rule have durably, and whoever says that a promotion loses nothing has everything
 * that any host was ever answered.
 */
export class FleetProtection {
  readonly #counter: FaultCounter;
  readonly #report: (text: string) => void;
  /** The highest update that hosts were answered, by generation. */
  readonly #answered = new Map<string, number>();
  /** What was looked at last, of each primary. */
  readonly #looked = new Map<FleetMember, { readonly group: Group; readonly answered: number }>();
  readonly #states = new Map<string, string>();
  /** Systems that gave up what they had by command, and have not come to have it again. */
  readonly #gaveUp = new Set<number>();

  constructor(counter: FaultCounter, isSynchronous: boolean, report: (text: string) => void) {
    this.#counter = counter;
    this.#report = report;
    if (isSynchronous) counter.expect(protectionKinds);
  }

  look(members: readonly FleetMember[]): void {
    for (const member of members) {
      const { group } = member;
      if (!group || group.state !== 'normal' || group.role !== 'primary') continue;
      this.#lookAtPrimary(member, group, members);
      this.#lookAtStates(member, group);
    }
    this.#lookAtClaims(members);
  }

  ended(member: FleetMember): void {
    this.#looked.delete(member);
  }

  /** It deleted the group. */
  gaveUp({ systemId }: FleetMember): void {
    if (systemId !== undefined) this.#gaveUp.add(systemId);
  }

  /** Whether it says that its promotion loses nothing, by what it knows itself. */
  claims(member: FleetMember): boolean {
    const claim = claimOf(member);
    return claim !== undefined && heardNeeded(claim.rule) === 1;
  }

  promoted(hasClaimed: boolean): void {
    if (hasClaimed) this.#counter.count('zero loss promoted');
  }

  #lookAtPrimary(member: FleetMember, group: Group, members: readonly FleetMember[]): void {
    const { gate } = group.replies;
    const { lineage, protection } = group.catalog;
    const { durable, applied } = group.watermarks;
    // What is not durable may be lost with the power, as on any disk.
    const answered = gate.isActive ? gate.answerable : durable;
    if (applied > group.replies.applicable) {
      this.#report(`${member.name} applied ${applied}, and ${answered} may be shown`);
    }
    const last = this.#looked.get(member);
    if (last?.group === group && last.answered >= answered) return;
    this.#looked.set(member, { group, answered });
    const stretch = lineage.at(-1);
    if (stretch) this.#note(stretch, answered);
    for (const { number, members: ruled, needed } of rulesOf(protection)) {
      if (answered <= number) continue;
      const had = ruled
        .map(({ systemId }) => this.#durableAt(members, systemId, group, answered))
        .sort((a, b) => b - a);
      const covered = had[needed - 1] ?? 0;
      if (answered <= covered) continue;
      const names = ruled.map(({ name }) => name).join(', ');
      this.#report(
        `${member.name} answered ${answered}, which ${needed} of ${names} do not have: ${had.join(', ')}`,
      );
    }
  }

  /** Whoever gave up what it had by command, or went another way, is not asked. */
  #durableAt(
    members: readonly FleetMember[],
    systemId: number,
    { catalog }: Group,
    answered: number,
  ): number {
    const place = members.find((each) => each.systemId === systemId)?.place;
    if (!place || place.groupId !== catalog.groupId) return Number.POSITIVE_INFINITY;
    const { durable, lineage } = place;
    if (!agreesAt(catalog.lineage, positionOf(lineage, durable))) return Number.POSITIVE_INFINITY;
    if (durable >= answered) this.#gaveUp.delete(systemId);
    return this.#gaveUp.has(systemId) ? Number.POSITIVE_INFINITY : durable;
  }

  #note(stretch: Stretch, answered: number): void {
    const key = generationKey(stretch);
    this.#answered.set(key, Math.max(this.#answered.get(key) ?? 0, answered));
  }

  #lookAtStates(member: FleetMember, { synchronous, followers }: Group): void {
    for (const { systemId } of followers.list()) {
      const key = `${member.name} ${systemId}`;
      const state = synchronous.stateOf(systemId) ?? '';
      const before = this.#states.get(key) ?? '';
      if (state === before) continue;
      this.#states.set(key, state);
      if (before !== '') this.#counter.count(`synchronous ${before} -> ${state}`);
    }
  }

  #lookAtClaims(members: readonly FleetMember[]): void {
    const byRule = new Map<string, Claim[]>();
    for (const member of members) {
      const claim = claimOf(member);
      if (!claim) continue;
      const stretch = claim.group.catalog.lineage.at(-1);
      if (!stretch) continue;
      const key = `${generationKey(stretch)} ${claim.rule.number}`;
      byRule.set(key, [...(byRule.get(key) ?? []), claim]);
    }
    for (const claims of byRule.values()) this.#lookAtRule(claims);
  }

  /** Any so many of them that are heard have all of it between them. */
  #lookAtRule(claims: readonly Claim[]): void {
    const [first] = claims;
    const stretch = first?.group.catalog.lineage.at(-1);
    if (!first || !stretch) return;
    const wanted = heardNeeded(first.rule);
    const durable = claims.map(({ group }) => group.watermarks.durable).sort((a, b) => a - b);
    const furthest = durable[wanted - 1];
    if (furthest === undefined) return;
    this.#counter.count('zero loss proved');
    const answered = this.#answered.get(generationKey(stretch)) ?? 0;
    if (answered <= furthest) return;
    const names = claims.map(({ member }) => member.name).join(', ');
    this.#report(
      `${names} would lose nothing with ${durable.join(', ')}, and ${answered} was answered`,
    );
  }
}

function generationKey({ generation, system }: Stretch): string {
  return `${generation}/${system}`;
}

function claimOf(member: FleetMember): Claim | undefined {
  const { group } = member;
  if (!group || group.state !== 'normal' || group.role !== 'secondary') return undefined;
  const { protection } = group.catalog;
  if (protection?.state !== 'protected') return undefined;
  if (isOfEarlierGeneration(protection, group.catalog.lineage)) return undefined;
  if (!protection.members.some(({ systemId }) => systemId === member.systemId)) return undefined;
  if (leaseOf(group).leftMilliseconds(protection.timeoutMilliseconds) <= 0) return undefined;
  return { member, group, rule: protection };
}
