import type { Condition, ConditionCode } from '../../group/catalog/conditions.ts';
import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import type { Clock } from '../../platform/clock.ts';
import type { CutDefinition } from '../protocol/wire-cuts.ts';
import { type KeptHold, markerIdOf } from './cut-file.ts';
import { formatMarkerId } from './marker-order.ts';
import type { MarkerController } from './marker-controller.ts';
import { movedMember, remakeCommand } from './moved-member.ts';
import type { MemberSide } from './member-side.ts';
import { patienceMilliseconds } from './patience.ts';
import type { TargetController } from './target-controller.ts';
import { isPromotedAt } from './target-groups.ts';
import type { TargetSide } from './target-side.ts';

/** What is looked at. */
interface TroubledCut {
  readonly definition: CutDefinition;
  readonly members: MemberSide;
  readonly targets: TargetSide;
  readonly controller: MarkerController | undefined;
  readonly lists: readonly TargetController[];
}

/** Of its capacity, in a journal that apply holds. */
const fullShare = 0.5;
const promotionMilliseconds = 10_000;

/** Says in the conditions of a cut's groups here what is not as it should be with it. */
export class CutTroubles {
  readonly #cut: TroubledCut;
  readonly #deps: { readonly system: System; readonly clock: Clock };
  /** The newest committed marker, and when (monotonic) it was seen first. */
  #newest = '';
  #newestAt: number;
  /** At which target a group here is, and since when a newer marker is there; by group id. */
  readonly #waiting = new Map<string, { readonly target: string; readonly since: number }>();
  /** Since when a promotion is prepared, by group id. */
  readonly #promoting = new Map<string, number>();

  constructor(cut: TroubledCut, deps: { readonly system: System; readonly clock: Clock }) {
    this.#cut = cut;
    this.#deps = deps;
    this.#newestAt = deps.clock.monotonicMilliseconds();
  }

  look(): void {
    this.#lookAtMarkers();
    for (const group of this.#groups()) this.#lookAtRole(group);
    for (const hold of this.#cut.targets.holds) {
      const group = this.#cut.targets.group(hold);
      if (!group) continue;
      this.#lookAtList(group, hold);
      this.#lookAtJournal(group, hold.heldAt, hold.list);
      const isPrepared = hold.promotion !== null && group.role === 'secondary';
      this.#lookAtPromotion(group, hold.list, isPrepared);
    }
  }

  /** Nothing is wrong with what is no more. */
  end(): void {
    for (const group of this.#groups()) {
      for (const code of codes) {
        group.conditions.clear(this.#name, code, `cut ${this.#name} was deleted`);
      }
    }
  }

  get #name(): string {
    return this.#cut.definition.name;
  }

  *#groups(): Generator<Group> {
    const { members, targets } = this.#cut;
    for (const place of [...members.places, ...targets.holds]) {
      const group = targets.group(place);
      if (group) yield group;
    }
  }

  #lookAtMarkers(): void {
    const { members, targets, controller, definition } = this.#cut;
    const { intervalMilliseconds } = definition;
    const now = this.#deps.clock.monotonicMilliseconds();
    const newest = members.newest();
    const id = newest ? formatMarkerId(newest) : '';
    if (id !== this.#newest) this.#newestAt = now;
    this.#newest = id;
    const quiet = now - this.#newestAt;
    const patience = patienceMilliseconds(intervalMilliseconds, definition.members.length);
    const isQuiet = intervalMilliseconds !== null && quiet > patience;
    const why = controller?.isControlling
      ? (controller.rounds.lastAbort?.reason ?? '')
      : (controller?.rounds.lastAbort?.reason ?? 'no controller is heard');
    for (const place of members.places) {
      const group = targets.group(place);
      if (!group) continue;
      this.#set(group, isQuiet, {
        code: 'cut_without_marker',
        severity: 'warning',
        message: `cut ${this.#name} has had no marker for ${seconds(quiet)}: ${why}`,
        nextCommand: `jnbd cut status ${this.#name}`,
      });
    }
  }

  /** What was promoted with its whole list is no member that moved alone. */
  #lookAtRole(group: Group): void {
    const { definition, targets } = this.#cut;
    const { systemId } = this.#deps.system;
    const isPromoted = targets.holds.some(
      ({ groupId, promotion }) =>
        groupId === group.catalog.groupId && isPromotedAt(group, promotion, systemId),
    );
    const moved = isPromoted ? undefined : movedMember(definition, group, systemId);
    const to = moved?.to.systemId === systemId ? 'here' : `on system ${moved?.to.systemName}`;
    this.#set(group, moved !== undefined, {
      code: 'cut_member_moved',
      severity: 'warning',
      message: `group ${group.name} is primary ${to} now, which cut ${this.#name} does not name as its member: there are no markers until it is primary where it was, or the cut is made anew`,
      nextCommand: moved ? remakeCommand(definition, [moved]) : `jnbd cut status ${this.#name}`,
    });
  }

  /** By the trouble of who controls the list; and everywhere, where newer markers came and no new target. */
  #lookAtList(group: Group, hold: KeptHold): void {
    const { list: name, released } = hold;
    const trouble = this.#cut.lists.find((each) => each.list === name)?.trouble;
    const now = this.#deps.clock.monotonicMilliseconds();
    const { intervalMilliseconds, targets } = this.#cut.definition;
    const places = targets.find((each) => each.name === name)?.places.length ?? 0;
    const id = markerIdOf(released);
    const target = id ? formatMarkerId(id) : '';
    const newest = this.#cut.targets.markersOf(hold).findLast(({ isCommitted }) => isCommitted);
    const isBehind = newest !== undefined && formatMarkerId(newest) !== target;
    const known = this.#waiting.get(group.catalog.groupId);
    const since = isBehind && known?.target === target ? known.since : now;
    this.#waiting.set(group.catalog.groupId, { target, since });
    // One that was promoted goes from marker to marker no more.
    const waited = group.role === 'secondary' ? now - Math.min(since, trouble?.since ?? now) : 0;
    const why = trouble?.text ?? 'there are newer markers here, and not all can go to one';
    this.#set(group, waited > patienceMilliseconds(intervalMilliseconds, places), {
      code: 'cut_targets_wait',
      severity: 'warning',
      message: `target list ${name} of cut ${this.#name} has not gone on for ${seconds(waited)}: ${why}`,
      nextCommand: `jnbd cut status ${this.#name}`,
    });
  }

  /** What becomes of hosts, and of followers, when it is full is the group's own policy. */
  #lookAtJournal(group: Group, heldAt: number, list: string): void {
    const { usedBytes, capacityBytes } = group.chain;
    const { durable, applied } = group.watermarks;
    const { isIndexFull } = group.cuts;
    const holds = group.role === 'secondary' && durable > heldAt && applied <= heldAt;
    const why = `target list ${list} of cut ${this.#name} holds apply at update ${heldAt}: ${durable - heldAt} updates wait`;
    const what = isIndexFull
      ? `group ${group.name} receives nothing more, because its index is full`
      : `the journal of group ${group.name} fills`;
    this.#set(group, holds && (isIndexFull || usedBytes > capacityBytes * fullShare), {
      code: 'cut_holds_apply',
      severity: 'warning',
      message: `${what}: ${why}`,
      nextCommand: `jnbd cut status ${this.#name}; if another secondary of the list does not come back: jnbd cut delete ${this.#name}`,
    });
  }

  #lookAtPromotion(group: Group, list: string, isPrepared: boolean): void {
    const { groupId } = group.catalog;
    const now = this.#deps.clock.monotonicMilliseconds();
    const since = this.#promoting.get(groupId) ?? now;
    if (isPrepared) this.#promoting.set(groupId, since);
    else this.#promoting.delete(groupId);
    this.#set(group, isPrepared && now - since > promotionMilliseconds, {
      code: 'cut_promotion_unfinished',
      severity: 'error',
      message: `target list ${list} of cut ${this.#name} is being promoted, and group ${group.name} is not primary yet; it applies nothing meanwhile`,
      nextCommand: `jnbd cut promote ${this.#name} --targets ${list}`,
    });
  }

  #set(group: Group, isSo: boolean, condition: Condition & { readonly code: CutCondition }): void {
    if (isSo) group.conditions.raise(this.#name, condition);
    else group.conditions.clear(this.#name, condition.code, overTexts[condition.code](this.#name));
  }
}

type CutCondition = Extract<ConditionCode, `cut_${string}`>;

const overTexts: Record<CutCondition, (cut: string) => string> = {
  cut_without_marker: (cut) => `cut ${cut} has markers again`,
  cut_targets_wait: (cut) => `the target list of cut ${cut} goes on`,
  cut_holds_apply: (cut) => `the journal has room again while cut ${cut} holds apply`,
  cut_promotion_unfinished: (cut) => `the promotion in cut ${cut} is over`,
  cut_member_moved: (cut) => `cut ${cut} names the primary of its group as the member again`,
};

const codes = Object.keys(overTexts) as CutCondition[];

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 1000)}s`;
}
