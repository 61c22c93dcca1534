import type { Group } from '../../group/order/group.ts';
import { checkPromotion, promotionObstacle } from '../../group/roles/promotion.ts';
import { checkNumber } from '../../group/roles/promotion-at.ts';
import type { System } from '../../group/system/system.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import {
  type CutAsk,
  type CutMarkerId,
  type CutPlace,
  type CutTold,
  type PlaceMarker,
  type TargetState,
} from '../protocol/wire-cuts.ts';
import type { Caller } from '../protocol/wire.ts';
import { type CutFile, type KeptHold, keptMarker, markerIdOf } from './cut-file.ts';
import type { CutMember } from './cut-member.ts';
import { compareMarkers } from '../../journal/cut-record.ts';
import { formatMarkerId, isAtLeast, newerOf } from './marker-order.ts';
import { placeMarker, toldOf } from './place-markers.ts';
import { isIncomplete, isPromotedAt, isThere } from './target-groups.ts';

export interface TargetSideDependencies {
  readonly system: System;
  readonly clock: Clock;
  readonly memberOf: (group: Group) => CutMember;
  /** Rejects with hook_refused. */
  readonly beforePromote: (group: Group) => Promise<void>;
  /** Behind the update nothing is kept but as a branch. */
  readonly promote: (group: string, at: number) => Promise<boolean>;
}

type OfTarget = Pick<CutAsk<'prepare'>, 'list' | 'groupId'>;

/** The groups of this system that are in target lists of one cut: they apply up to a marker, and wait there. */
export class TargetSide {
  readonly #file: CutFile;
  readonly #deps: TargetSideDependencies;
  /** Monotonic: when other systems that control a list were heard, by list and place in it. */
  readonly #heardAt = new Map<string, number[]>();
  /** Which were incomplete when they were looked at last, by group id. */
  readonly #incomplete = new Set<string>();

  constructor(file: CutFile, deps: TargetSideDependencies) {
    this.#file = file;
    this.#deps = deps;
    this.look();
  }

  get holds(): readonly KeptHold[] {
    return this.#file.state.holds;
  }

  /** Whether all groups here that are in the list are still secondaries, as far as they are there. */
  isSecondary(list: string): boolean {
    return this.holds.every((hold) => {
      const role = hold.list === list ? this.group(hold)?.role : undefined;
      return role === undefined || role === 'secondary';
    });
  }

  /** When one that stands before that place was heard last; minus infinity: never. */
  heardAt(list: string, place: number): number {
    const heard = this.#heardAt.get(list) ?? [];
    return heard
      .slice(0, place)
      .reduce((latest, at) => Math.max(latest, at), Number.NEGATIVE_INFINITY);
  }

  /**
   * Holds groups where they are to be held: to be called often, because a group that was opened again, or has
   * all its contents only now, does not say so.
   */
  look(): void {
    for (const hold of this.holds) {
      const group = this.group(hold);
      if (!group || !isThere(group)) continue;
      const state = this.#stateOf(group, hold);
      if (state === 'incomplete') this.#incomplete.add(hold.groupId);
      if (state !== 'holding') {
        this.#holdApplyAt(group, undefined);
        continue;
      }
      // What a copy or a resync applied is beyond any target: it is held from here on.
      const isPast = group.watermarks.applied > hold.heldAt;
      if (this.#incomplete.delete(hold.groupId) || isPast) this.#holdHere(group, hold);
      else this.#holdApplyAt(group, hold.heldAt);
    }
  }

  /** Nothing is held any more, because the cut is to be deleted here. Throws JnbdError group_opening. */
  release(): void {
    for (const { groupId } of this.holds) {
      const group = this.#deps.system.findById(groupId);
      if (group) this.#holdApplyAt(group, undefined);
    }
  }

  targets(ask: CutAsk<'targets'>, caller: Caller): CutTold<'targets'> {
    const hold = this.#hold(ask);
    const group = this.group(hold);
    if (ask.isControlling) {
      this.#heard(ask.list, caller);
      group?.cuts.passBound(ask.needsMore ?? false);
    }
    const state = group ? this.#stateOf(group, hold) : 'away';
    return {
      state,
      text: this.#text(group, hold, state),
      markers: group ? toldOf(this.#markers(group, hold)) : [],
      heldAt: hold.heldAt,
      received: group?.watermarks.durable ?? 0,
      applied: group?.watermarks.applied ?? 0,
      released: markerIdOf(hold.released),
      next: markerIdOf(hold.next),
      promotion: hold.promotion && { ...idOf(hold.promotion), attempt: hold.promotion.attempt },
    };
  }

  /** Durable when it returns: others may apply towards the target. Throws JnbdError. */
  prepare(ask: CutAsk<'prepare'>): void {
    const hold = this.#hold(ask);
    this.#refusePromoting(hold);
    if (isAtLeast(newerOf(markerIdOf(hold.next), markerIdOf(hold.released)), ask)) return;
    const { number } = this.#marker(hold, ask);
    this.#file.changeHold({ ...hold, next: keptMarker(ask, number) });
  }

  /** Applies up to the target. Only what was prepared, here and elsewhere. Throws JnbdError. */
  apply(ask: CutAsk<'apply'>): void {
    const hold = this.#hold(ask);
    this.#refusePromoting(hold);
    if (isAtLeast(markerIdOf(hold.released), ask)) return;
    if (!isAtLeast(markerIdOf(hold.next), ask)) {
      throw new JnbdError(
        'state_refuses',
        `marker ${formatMarkerId(ask)} is not the next target of ${this.#what(hold)}`,
      );
    }
    const { number } = this.#marker(hold, ask);
    // Durable first: after a crash it must not seem that apply went beyond.
    this.#file.changeHold({ ...hold, heldAt: number, released: keptMarker(ask, number) });
    this.look();
  }

  async preparePromotion(ask: CutAsk<'prepare-promotion'>): Promise<CutTold<'prepare-promotion'>> {
    const hold = this.#hold(ask);
    const group = this.#present(hold);
    const { systemId } = this.#deps.system;
    if (isPromotedAt(group, hold.promotion, systemId)) {
      const known = markerIdOf(hold.promotion);
      if (known && compareMarkers(known, ask) === 0) {
        return { number: hold.promotion?.number ?? 0, updatesBehind: 0, obstacle: '' };
      }
    }
    const { number } = this.#marker(hold, ask);
    const told = { number, updatesBehind: group.watermarks.newest - number };
    if (ask.isDryRun) return { ...told, obstacle: this.#obstacle(group, number) };
    this.#check(group, number);
    await this.#deps.beforePromote(group);
    // The hook may have taken its time.
    const now = this.#hold(ask);
    this.#check(this.#present(now), this.#marker(now, ask).number);
    const kept = keptMarker(ask, number);
    const next = isAtLeast(markerIdOf(now.next), ask) ? now.next : kept;
    this.#file.changeHold({ ...now, next, promotion: { ...kept, attempt: ask.attempt } });
    return { ...told, obstacle: '' };
  }

  cancelPromotion(ask: CutAsk<'cancel-promotion'>): void {
    const hold = this.#hold(ask);
    if (hold.promotion?.attempt !== ask.attempt) return;
    const group = this.group(hold);
    if (group && isPromotedAt(group, hold.promotion, this.#deps.system.systemId)) return;
    this.#file.changeHold({ ...hold, promotion: null });
  }

  /** All are prepared. Rejects with JnbdError. */
  async promote(ask: CutAsk<'promote'>): Promise<boolean> {
    const hold = this.#hold(ask);
    const { promotion } = hold;
    const group = this.#present(hold);
    if (isPromotedAt(group, promotion, this.#deps.system.systemId)) return false;
    if (promotion?.attempt !== ask.attempt) {
      throw new JnbdError(
        'state_refuses',
        `another command prepares the promotion of ${this.#what(hold)}; repeat this one`,
      );
    }
    // It may have been left behind since: what a resync goes back to is no marker.
    this.#check(group, promotion.number);
    const changed = await this.#deps.promote(group.name, promotion.number);
    this.look();
    return changed;
  }

  group({ groupId }: Pick<KeptHold, 'groupId'>): Group | undefined {
    return this.#deps.system.openById(groupId);
  }

  #heard(list: string, { systemId }: Caller): void {
    if (systemId === this.#deps.system.systemId) return;
    const places = this.#places(list);
    const heard = this.#heardAt.get(list) ?? places.map(() => Number.NEGATIVE_INFINITY);
    const at = places.findIndex((place) => place.systemId === systemId);
    if (at >= 0) heard[at] = this.#deps.clock.monotonicMilliseconds();
    this.#heardAt.set(list, heard);
  }

  #places(list: string): readonly CutPlace[] {
    return this.#file.state.definition.targets.find(({ name }) => name === list)?.places ?? [];
  }

  /** Those at its target and ahead of it, oldest first. */
  markersOf(hold: KeptHold): PlaceMarker[] {
    const group = this.group(hold);
    return group ? this.#markers(group, hold) : [];
  }

  #holdApplyAt(group: Group, number: number | undefined): void {
    const { cutId } = this.#file.state.definition;
    const member = this.#deps.memberOf(group);
    member.holdApplyAt(number === undefined ? undefined : BigInt(number), cutId);
  }

  #holdHere(group: Group, hold: KeptHold): void {
    const heldAt = group.watermarks.newest;
    this.#holdApplyAt(group, heldAt);
    try {
      this.#file.changeHold({ ...hold, heldAt });
    } catch (error) {
      // A disk that is full: it is looked at again, and until then the place of before is where it is held.
      if (!(error instanceof JnbdError)) throw error;
    }
  }

  #stateOf(group: Group, hold: KeptHold): TargetState {
    if (!isThere(group)) return 'away';
    if (group.role === 'primary') {
      return isPromotedAt(group, hold.promotion, this.#deps.system.systemId)
        ? 'promoted'
        : 'primary';
    }
    if (group.role !== 'secondary') return 'away';
    return isIncomplete(group) ? 'incomplete' : 'holding';
  }

  #text(group: Group | undefined, hold: KeptHold, state: TargetState): string {
    const what = this.#what(hold);
    switch (state) {
      case 'holding':
        return group?.state === 'normal' ? '' : `${what} is ${group?.state}: ${group?.failureText}`;
      case 'incomplete':
        return `contents are still being brought to ${what}`;
      case 'promoted':
        return `${what} was promoted`;
      case 'primary':
        return `${what} is primary, and no secondary any more`;
      case 'away':
        return group ? `${what} is ${group.role}, ${group.state}` : `${what} is not there now`;
    }
  }

  #what({ groupId, list }: OfTarget): string {
    const place = this.#places(list).find((each) => each.groupId === groupId);
    return `group ${place?.group ?? groupId} on system ${this.#deps.system.name}`;
  }

  #markers(group: Group, { heldAt }: KeptHold): PlaceMarker[] {
    const { cutId } = this.#file.state.definition;
    const markers = this.#deps.memberOf(group).markers(cutId);
    return markers.map(placeMarker).filter(({ number }) => number >= heldAt);
  }

  /** Throws JnbdError state_refuses. */
  #marker(hold: KeptHold, id: CutMarkerId): PlaceMarker {
    const markers = this.#markers(this.#present(hold), hold);
    const marker = markers.find((each) => compareMarkers(each, id) === 0);
    if (marker) return marker;
    const released = hold.released ? `, ${hold.released.epoch}.${hold.released.sequence}` : '';
    throw new JnbdError(
      'state_refuses',
      `${this.#what(hold)} has no marker ${formatMarkerId(id)} ahead of the target that it applies towards${released}`,
    );
  }

  #hold({ list, groupId }: OfTarget): KeptHold {
    const hold = this.holds.find((each) => each.list === list && each.groupId === groupId);
    if (hold) return hold;
    throw new JnbdError(
      'group_not_found',
      `${this.#what({ list, groupId })} is not in target list ${list} of cut ${this.#file.state.definition.name}`,
    );
  }

  #present(hold: KeptHold): Group {
    const group = this.group(hold);
    if (group) return group;
    throw new JnbdError('group_opening', `${this.#what(hold)} is not there now; try again`);
  }

  #refusePromoting(hold: KeptHold): void {
    if (!hold.promotion) return;
    const { epoch, sequence } = hold.promotion;
    throw new JnbdError(
      'state_refuses',
      `${this.#what(hold)} is being promoted at marker ${epoch}.${sequence}`,
    );
  }

  /** Throws JnbdError: state_refuses, confirmation_needed. */
  #check(group: Group, number: number): void {
    if (isIncomplete(group)) {
      const text = `contents are still being brought to group ${group.name}: its volumes are of no marker`;
      throw new JnbdError('state_refuses', text);
    }
    checkPromotion(group, this.#deps.system.systemId, false);
    if (number !== group.watermarks.newest) checkNumber(group, number);
  }

  #obstacle(group: Group, number: number): string {
    try {
      this.#check(group, number);
      return '';
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      return promotionObstacle(group, this.#deps.system.systemId)?.text ?? error.message;
    }
  }
}

function idOf({ epoch, sequence }: { readonly epoch: string; readonly sequence: string }) {
  return { epoch: BigInt(epoch), sequence: BigInt(sequence) };
}
