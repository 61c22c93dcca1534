import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import { type PreparedSnapshot, prepareSnapshot } from '../../group/volumes/prepared-snapshot.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { CutAsk, CutPlace, CutTold, MovedTo, PlaceMarker } from '../protocol/wire-cuts.ts';
import type { Caller } from '../protocol/wire.ts';
import type { CutFile } from './cut-file.ts';
import type { CutMember, MarkerId } from './cut-member.ts';
import { HeldShare } from './held-share.ts';
import { movedMember } from './moved-member.ts';
import { quietMilliseconds } from './patience.ts';
import { placeMarker } from './place-markers.ts';

export interface MemberSideDependencies {
  readonly system: System;
  readonly clock: Clock;
  readonly memberOf: (group: Group) => CutMember;
}

/** For so many times of quiet. */
const surveysCount = 4;
/** From the time that the files of a snapshot are there to its marker. */
const preparedMilliseconds = 3000;

/** The groups of this system that are members of one cut: does what its controller says, if it is the one. */
export class MemberSide {
  readonly #file: CutFile;
  readonly #deps: MemberSideDependencies;
  /** Those that are here. */
  readonly places: readonly CutPlace[];
  /** A promise of an earlier life is not enough: what that one held is not known. */
  #claimed: { readonly epoch: bigint; readonly by: Caller } | undefined;
  /** The newest sequence of the epoch, by group id. */
  readonly #sequences = new Map<string, bigint>();
  readonly #held = new Map<string, HeldShare>();
  /** By group id: what the next marker is to have behind it. */
  readonly #prepared = new Map<string, PreparedSnapshot>();
  /** Monotonic: when a controller was heard, and when it had got as far as a claim or a marker. */
  #heardAt: number;
  #workedAt: number;

  constructor(file: CutFile, deps: MemberSideDependencies) {
    this.#file = file;
    this.#deps = deps;
    const { systemId } = deps.system;
    this.places = file.state.definition.members.filter((place) => place.systemId === systemId);
    this.#heardAt = this.#workedAt = deps.clock.monotonicMilliseconds();
  }

  get heardAt(): number {
    return this.#heardAt;
  }

  /** Also what a group of a member here has from another primary, which it cannot go below. */
  get promised(): bigint {
    const { promised, definition } = this.#file.state;
    let highest = BigInt(promised);
    for (const { groupId } of this.places) {
      const group = this.#deps.system.openById(groupId);
      const newest = group && this.#deps.memberOf(group).markers(definition.cutId).at(-1);
      if (newest && newest.epoch > highest) highest = newest.epoch;
    }
    return highest;
  }

  /** Who said last that it controls the cut; undefined: nobody since the start. */
  get controller(): Caller | undefined {
    return this.#claimed?.by;
  }

  /** Durable when it returns (SAFETY 26). Throws JnbdError: cut_epoch_stale, write_failed, disk_full. */
  claim({ epoch }: CutAsk<'claim'>, by: Caller): void {
    const isKnown = this.#claimed?.epoch === epoch && this.#claimed.by.systemId === by.systemId;
    if (isKnown) return;
    if (epoch <= this.promised) throw this.#stale(epoch);
    this.#file.change({ promised: epoch.toString() });
    this.#claimed = { epoch, by };
    this.#sequences.clear();
    this.heard();
  }

  /** Rejects with JnbdError: cut_epoch_stale, group_not_found, and what the group says. */
  async mark(ask: CutAsk<'mark'>): Promise<number> {
    const { groupId, epoch, sequence, wallTimeMilliseconds, name } = ask;
    if (this.#claimed?.epoch !== epoch) throw this.#stale(epoch);
    if (sequence <= (this.#sequences.get(groupId) ?? 0n)) {
      const text = `marker ${epoch}.${sequence} of cut ${this.#name} is not above the newest one`;
      throw new JnbdError('cut_epoch_stale', text);
    }
    const member = this.#member(groupId);
    this.#sequences.set(groupId, sequence);
    this.heard();
    const { cutId, roundLimitMilliseconds } = this.#file.state.definition;
    const marker = { cutId, epoch, sequence, wallTimeMilliseconds, name };
    const snapshot = this.#prepared.get(groupId);
    this.#prepared.delete(groupId);
    if (snapshot?.name === ask.snapshot)
      return Number(await member.mark(marker, roundLimitMilliseconds, snapshot));
    snapshot?.giveUp();
    if (ask.snapshot === undefined)
      return Number(await member.mark(marker, roundLimitMilliseconds));
    const text = `snapshot ${ask.snapshot} was not made ready on system ${this.#deps.system.name}`;
    throw new JnbdError('state_refuses', text);
  }

  /** Files of a snapshot that the next marker is to have behind it. Rejects as `prepareSnapshot` does. */
  async prepareSnapshot({ groupId, snapshot: name }: CutAsk<'prepare-snapshot'>): Promise<void> {
    const { system } = this.#deps;
    const group = this.#openGroup(groupId);
    this.#prepared.get(groupId)?.giveUp();
    this.#prepared.delete(groupId);
    const files = system.filesOf(group);
    const milliseconds = preparedMilliseconds;
    const prepared = await prepareSnapshot(system.disk, group, files, name, milliseconds);
    this.#prepared.set(groupId, prepared);
  }

  told(ask: CutAsk<'told'>): Promise<boolean> {
    return this.#member(ask.groupId).told(this.#id(ask));
  }

  release(ask: CutAsk<'release'>): void {
    this.#member(ask.groupId).release(this.#id(ask));
  }

  async commit(ask: CutAsk<'commit'>): Promise<void> {
    await this.#member(ask.groupId).commit(this.#id(ask));
  }

  /** A controller gets on. */
  heard(): void {
    this.#heardAt = this.#workedAt = this.#deps.clock.monotonicMilliseconds();
  }

  /** A controller looks around. One that does nothing else may be cut off from a member, and another one not. */
  surveyed(): void {
    const { intervalMilliseconds } = this.#file.state.definition;
    const now = this.#deps.clock.monotonicMilliseconds();
    if (now - this.#workedAt < surveysCount * quietMilliseconds(intervalMilliseconds)) {
      this.#heardAt = now;
    }
  }

  survey(): Pick<CutTold<'survey'>, 'promised' | 'claimed' | 'controller' | 'groups'> {
    return {
      promised: this.promised,
      claimed: this.#claimed?.epoch ?? 0n,
      controller: this.#claimed?.by.name ?? '',
      groups: this.places.map(({ groupId }) => ({
        groupId,
        obstacle: this.#obstacle(groupId),
        heldMillisecondsPerSecond: this.#share(groupId).millisecondsPerSecond,
        newest: this.#newest(groupId) ?? null,
        ...this.#movedTo(groupId),
      })),
    };
  }

  /** The newest committed marker that stands in the journal of a member here. */
  newest(): PlaceMarker | undefined {
    return this.places.flatMap(({ groupId }) => this.#newest(groupId) ?? [])[0];
  }

  /** Of one member, since its group was opened. */
  heldMilliseconds(groupId: string): number {
    const group = this.#deps.system.openById(groupId);
    return group ? this.#deps.memberOf(group).heldMilliseconds() : 0;
  }

  /** Notes what is counted: to be called twice a second or so. */
  look(): void {
    const now = this.#deps.clock.monotonicMilliseconds();
    for (const { groupId } of this.places) {
      this.#share(groupId).add(now, this.heldMilliseconds(groupId));
    }
  }

  #movedTo(groupId: string): { readonly movedTo?: MovedTo } {
    const group = this.#deps.system.openById(groupId);
    const { definition } = this.#file.state;
    const moved = group && movedMember(definition, group, this.#deps.system.systemId);
    return moved ? { movedTo: moved.to } : {};
  }

  #newest(groupId: string): PlaceMarker | undefined {
    const group = this.#deps.system.openById(groupId);
    if (!group) return undefined;
    const markers = this.#deps.memberOf(group).markers(this.#file.state.definition.cutId);
    const newest = markers.findLast(({ isCommitted }) => isCommitted);
    return newest && placeMarker(newest);
  }

  #share(groupId: string): HeldShare {
    const known = this.#held.get(groupId);
    if (known) return known;
    const share = new HeldShare();
    this.#held.set(groupId, share);
    return share;
  }

  #obstacle(groupId: string): string {
    const group = this.#deps.system.openById(groupId);
    if (!group) return 'its group is not there';
    if (group.state !== 'normal') return `group ${group.name} is ${group.state}`;
    return group.role === 'primary' ? '' : `group ${group.name} is ${group.role}, not primary`;
  }

  #id({ epoch, sequence }: { readonly epoch: bigint; readonly sequence: bigint }): MarkerId {
    return { cutId: this.#file.state.definition.cutId, epoch, sequence };
  }

  #member(groupId: string): CutMember {
    return this.#deps.memberOf(this.#openGroup(groupId));
  }

  #openGroup(groupId: string): Group {
    const isMember = this.places.some((place) => place.groupId === groupId);
    const group = isMember ? this.#deps.system.openById(groupId) : undefined;
    if (group) return group;
    throw new JnbdError(
      'group_not_found',
      `system ${this.#deps.system.name} has no group ${groupId} in cut ${this.#name}`,
    );
  }

  get #name(): string {
    return this.#file.state.definition.name;
  }

  #stale(epoch: bigint): JnbdError {
    const { name } = this.#deps.system;
    const why =
      epoch > this.promised
        ? 'was not claimed'
        : epoch === this.promised && !this.#claimed
          ? 'was claimed before it started'
          : `is not above ${this.promised}, which it promised`;
    return new JnbdError(
      'cut_epoch_stale',
      `system ${name} takes no part in epoch ${epoch} of cut ${this.#name}: that ${why}`,
    );
  }
}
