import { generationOf } from '../../group/catalog/lineage.ts';
import type { Group } from '../../group/order/group.ts';
import type { PreparedSnapshot } from '../../group/volumes/prepared-snapshot.ts';
import { compareMarkers, type MarkerId } from '../../journal/cut-record.ts';
import { must } from '../../platform/assert.ts';
import type { Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { CutMember, Marker, ReceivedMarker } from './cut-member.ts';
import { type MemberRound, MemberRounds } from './member-round.ts';

/** For a commit to find room in the journal: no host waits for it. */
const commitMilliseconds = 5000;

const members = new WeakMap<Group, GroupCutMember>();

/** The same for every cut that the group is in. A group that was opened again knows no round of before. */
export function cutMemberOf(group: Group): CutMember {
  const member = members.get(group) ?? new GroupCutMember(group);
  members.set(group, member);
  return member;
}

/** Carries out at a group what its rounds decide. */
class GroupCutMember implements CutMember {
  readonly #group: Group;
  readonly #rounds = new MemberRounds();
  readonly #timers = new Map<MemberRound, Timer>();
  readonly #commits = new Map<MemberRound, Promise<void>>();
  /** Whether the marker is durable, once that is known. */
  readonly #standing = new WeakMap<MemberRound, Promise<boolean>>();
  /** What was numbered behind its marker. */
  readonly #snapshots = new WeakMap<MemberRound, PreparedSnapshot>();
  #heldSince: number | undefined;
  #heldMilliseconds = 0;

  constructor(group: Group) {
    this.#group = group;
  }

  async mark(
    marker: Omit<Marker, 'number'>,
    limitMilliseconds: number,
    snapshot?: PreparedSnapshot,
  ): Promise<bigint> {
    const { cuts, clock } = this.#group;
    const { cutId, epoch, sequence, wallTimeMilliseconds, name } = marker;
    const record = { kind: 'marker', cutId, epoch, sequence, wallTimeMilliseconds, name } as const;
    const begun: { round?: MemberRound } = {};
    const numbering = (next: number): void => {
      this.#checkAbove(marker);
      const round = this.#rounds.begin({ cutId, epoch, sequence }, next, this.#current);
      begun.round = round;
      if (snapshot) this.#snapshots.set(round, snapshot);
      const timer = clock.after(limitMilliseconds, () => this.#end(round));
      this.#timers.set(round, timer);
      // Before anything is numbered behind it.
      this.#hold();
    };
    const { number, durable } = await cuts.append(record, limitMilliseconds, numbering, snapshot);
    const round = must(begun.round, 'a round began');
    const isDurable = durable.then(
      () => true,
      () => {
        this.#end(round);
        return false;
      },
    );
    this.#standing.set(round, isDurable);
    return BigInt(number);
  }

  /** The generation of the group. */
  get #current(): number {
    return generationOf(this.#group.catalog.lineage);
  }

  /** Also of markers that the journal had before this start, or from another primary. */
  #checkAbove(marker: MarkerId): void {
    const newest = this.#group.cuts.records.newest(marker.cutId);
    if (!newest || compareMarkers(marker, newest) > 0) return;
    throw new JnbdError(
      'cut_epoch_stale',
      `marker ${marker.epoch}.${marker.sequence} is not above ${newest.epoch}.${newest.sequence}, which group ${this.#group.name} has: claim a newer epoch`,
    );
  }

  async told(id: MarkerId): Promise<boolean> {
    const round = this.#rounds.find(id);
    if (!round) return false;
    const { role, state } = this.#group;
    const isSame = round.generation === this.#current && role === 'primary' && state === 'normal';
    if (!isSame) round.end();
    const hasHeld = round.told();
    this.#end(round);
    return hasHeld && (await this.#standing.get(round)) === true;
  }

  release(id: MarkerId): void {
    const round = this.#rounds.find(id);
    if (!round) return;
    this.#end(round);
    // Whoever controls it says that there will be no commit, also where this member did hold.
    if (round.state === 'held') this.#snapshots.get(round)?.giveUp();
  }

  commit(id: MarkerId): Promise<void> {
    const round = this.#rounds.find(id);
    if (round?.state === 'committed') return Promise.resolve();
    if (round?.state !== 'held') {
      const what = round ? `round is ${round.state}` : 'it has no such round';
      const text = `group ${this.#group.name} did not hold behind marker ${id.epoch}.${id.sequence}: ${what}`;
      return Promise.reject(new JnbdError('cut_round_lost', text));
    }
    const known = this.#commits.get(round);
    if (known) return known;
    const commit = this.#commit(round).finally(() => this.#commits.delete(round));
    this.#commits.set(round, commit);
    return commit;
  }

  async #commit(round: MemberRound): Promise<void> {
    const record = { kind: 'commit', ...round.id } as const;
    const { durable } = await this.#group.cuts.append(record, commitMilliseconds, () => {
      if (round.generation === this.#current) return;
      const text = `group ${this.#group.name} is of another generation than the marker`;
      throw new JnbdError('cut_round_lost', text);
    });
    await durable;
    round.committed();
  }

  heldMilliseconds(): number {
    if (this.#heldSince === undefined) return this.#heldMilliseconds;
    return this.#heldMilliseconds + this.#group.clock.monotonicMilliseconds() - this.#heldSince;
  }

  markers(cutId: string): readonly ReceivedMarker[] {
    const { cuts, watermarks, follow, role } = this.#group;
    const { durable, applied } = watermarks;
    const { copies = [], resync, shows = 0 } = follow.state ?? {};
    const isPrimary = role === 'primary';
    if (!isPrimary && (resync || copies.length > 0)) return [];
    const known = cuts.records.list(cutId, durable);
    const isStanding = (committedAt = Number.POSITIVE_INFINITY): boolean => committedAt <= durable;
    // Of a primary whose follower is away there may be thousands, and it is asked before each round.
    const first = isPrimary
      ? known.findLastIndex(({ committedAt }) => isStanding(committedAt))
      : known.findIndex(({ number }) => number >= Math.max(applied, shows));
    if (first < 0 && !isPrimary) return [];
    return known.slice(Math.max(first, 0)).map(({ committedAt, number, ...marker }) => ({
      ...marker,
      number: BigInt(number),
      isCommitted: isStanding(committedAt),
    }));
  }

  holdApplyAt(number: bigint | undefined, cutId: string): void {
    this.#group.cuts.holdApplyAt(number === undefined ? undefined : Number(number), cutId);
  }

  #end(round: MemberRound): void {
    round.end();
    // It says no from now on, so nobody commits it.
    if (round.state === 'broken') this.#snapshots.get(round)?.giveUp();
    this.#timers.get(round)?.cancel();
    this.#timers.delete(round);
    this.#hold();
  }

  /** The gate is where the rounds say. */
  #hold(): void {
    const { replies, clock } = this.#group;
    const now = clock.monotonicMilliseconds();
    const { heldBehind } = this.#rounds;
    if (heldBehind === undefined) {
      if (this.#heldSince === undefined) return;
      this.#heldMilliseconds += now - this.#heldSince;
      this.#heldSince = undefined;
      replies.release();
      return;
    }
    this.#heldSince ??= now;
    replies.holdBehind(heldBehind);
  }
}
