import type { Clock } from '../../platform/clock.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { type NumberedRule, synchronousDefaults } from '../catalog/protection.ts';
import type { FollowerCursor } from './follower-cursor.ts';
import { changeSynchronousState, rulesOf, type SynchronousState } from './synchronous-policy.ts';

/** What it said may lie in a queue of this process, which was busy: it counts as not heard so much later. */
const doubtMilliseconds = 50;
/** Two clocks that count the same lease may differ by so much. */
const driftShare = 0.02;

/** What is known of a follower in this life. */
interface Leased {
  state: SynchronousState;
  heardMilliseconds: number;
  /** When it was heard last while replies waited for it: what it says later is confirmed to it by nobody. */
  trustedMilliseconds: number;
  /** When it last had more than before, or all there was. */
  progressedMilliseconds: number;
  received: number;
  /** It is heard, and has had nothing new for too long: what it says does not count. */
  isStuck: boolean;
  /** Since when its lease has run out, as far as is known. */
  doubtedMilliseconds: number | undefined;
}

interface LeasingGroup {
  readonly catalog: Catalog;
  readonly watermarks: { readonly durable: number };
  readonly followers: {
    list(): readonly FollowerCursor[];
    find(systemId: number): FollowerCursor | undefined;
  };
}

/**
 * How long synchronous followers are waited for, and trust what they have: a lease, from the time at which
 * each was heard last. Its end is counted here a little longer than there.
 */
export class FollowerLeases {
  readonly #clock: Clock;
  readonly #group: LeasingGroup;
  readonly #changed: () => void;
  readonly #leased = new Map<number, Leased>();

  /** `changed`: the state of one, or whether it is doubted, is another. */
  constructor(clock: Clock, group: LeasingGroup, changed: () => void) {
    this.#clock = clock;
    this.#group = group;
    this.#changed = changed;
  }

  get isEmpty(): boolean {
    return this.#leased.size === 0;
  }

  clear(): void {
    this.#leased.clear();
  }

  stateOf(systemId: number): SynchronousState | undefined {
    return this.#leased.get(systemId)?.state;
  }

  isDoubted(systemId: number): boolean {
    const leased = this.#leased.get(systemId);
    return leased?.doubtedMilliseconds !== undefined || leased?.isStuck === true;
  }

  /** Known from now on; how it is where it was known before. */
  know(systemId: number, state: SynchronousState = 'catching-up'): SynchronousState {
    return this.#find(systemId, state).state;
  }

  /** It goes by no rule any more, and is not registered. */
  forget(systemId: number): void {
    this.#leased.delete(systemId);
  }

  join(systemId: number): void {
    const leased = this.#find(systemId, 'catching-up');
    if (leased.state !== 'catching-up') return;
    leased.state = changeSynchronousState('catching-up', 'in-step');
    leased.progressedMilliseconds = this.#now();
    leased.trustedMilliseconds = this.#now();
    leased.isStuck = false;
  }

  /** Nobody is waited for any more. */
  release(): void {
    for (const leased of this.#leased.values()) {
      if (leased.state !== 'in-step') continue;
      leased.state = changeSynchronousState('in-step', 'catching-up');
      leased.doubtedMilliseconds = undefined;
    }
  }

  /** It said how far it is. False: nothing was known of it. */
  heard({ systemId, received }: FollowerCursor): boolean {
    const leased = this.#leased.get(systemId);
    if (!leased) return false;
    const now = this.#now();
    const isAll = received >= this.#group.watermarks.durable;
    if (received > leased.received || isAll) leased.progressedMilliseconds = now;
    // Who is heard, and takes nothing, is not in step: its lease ends as if it were silent.
    const isStuck = now - leased.progressedMilliseconds > this.timeoutMilliseconds;
    leased.isStuck = isStuck && leased.state === 'in-step';
    if (!leased.isStuck) leased.heardMilliseconds = now;
    if (leased.state === 'in-step') leased.trustedMilliseconds = leased.heardMilliseconds;
    if (received < leased.received) this.#lose(leased);
    leased.received = received;
    return true;
  }

  get timeoutMilliseconds(): number {
    return (this.#group.catalog.synchronous ?? synchronousDefaults).timeoutMilliseconds;
  }

  /** Who is heard, and who is not any more. */
  look(): void {
    const { followers, catalog } = this.#group;
    const now = this.#now();
    for (const { systemId, synchronous } of followers.list()) {
      if (synchronous === true) this.know(systemId);
    }
    const ruled = new Set(
      rulesOf(catalog.protection).flatMap(({ members }) => members.map(({ systemId }) => systemId)),
    );
    for (const [systemId, leased] of this.#leased) {
      const cursor = followers.find(systemId);
      if (!ruled.has(systemId) && cursor?.synchronous !== true) this.#leased.delete(systemId);
      else this.#lookAt(leased, cursor, now >= this.#endOf(systemId, leased), now);
    }
  }

  /** When a lease, or the doubt of one, runs out next. */
  nextMilliseconds(): number {
    const isWaiting = (this.#group.catalog.protection?.believed.length ?? 0) > 0;
    let next = isWaiting ? this.#now() + doubtMilliseconds : Number.POSITIVE_INFINITY;
    for (const [systemId, leased] of this.#leased) {
      if (leased.state !== 'in-step') continue;
      const { doubtedMilliseconds: doubted } = leased;
      const end =
        doubted === undefined ? this.#endOf(systemId, leased) : doubted + doubtMilliseconds;
      next = Math.min(next, end);
    }
    return next;
  }

  /** Nobody goes by the rule any more: each has the record that came after it, or trusts nothing. */
  isOver({ members }: NumberedRule, since: number): boolean {
    const now = this.#now();
    return members.every(({ systemId }) => {
      if ((this.#group.followers.find(systemId)?.received ?? 0) >= since) return true;
      const leased = this.#leased.get(systemId);
      if (!leased) return true;
      // Also one that is heard all the time, and copies anew.
      const { trustedMilliseconds: heardMilliseconds } = leased;
      return now >= this.#endOf(systemId, { heardMilliseconds }) + doubtMilliseconds;
    });
  }

  #lookAt(leased: Leased, cursor: FollowerCursor | undefined, isLate: boolean, now: number): void {
    switch (leased.state) {
      case 'in-step':
        this.#doubt(leased, isLate, now);
        // What it copies anew it cannot be promoted with.
        if (cursor && ['copying', 'behind', 'suspended'].includes(cursor.state)) this.#lose(leased);
        break;
      case 'catching-up':
        if (isLate) this.#lose(leased);
        break;
      case 'lost':
        if (isLate || cursor?.state !== 'following') break;
        leased.state = changeSynchronousState('lost', 'catching-up');
        this.#changed();
    }
  }

  #doubt(leased: Leased, isLate: boolean, now: number): void {
    const { doubtedMilliseconds } = leased;
    if (isLate && doubtedMilliseconds !== undefined) {
      if (now - doubtedMilliseconds >= doubtMilliseconds) this.#lose(leased);
    } else if (isLate || doubtedMilliseconds !== undefined) {
      leased.doubtedMilliseconds = isLate ? now : undefined;
      this.#changed();
    }
  }

  #lose(leased: Leased): void {
    if (leased.state === 'lost') return;
    leased.state = changeSynchronousState(leased.state, 'lost');
    leased.doubtedMilliseconds = undefined;
    this.#changed();
  }

  /** By the longest of the rules that it may go by. */
  #endOf(systemId: number, { heardMilliseconds }: Pick<Leased, 'heardMilliseconds'>): number {
    let longest = this.timeoutMilliseconds;
    for (const { members, timeoutMilliseconds } of rulesOf(this.#group.catalog.protection)) {
      const isMember = members.some((each) => each.systemId === systemId);
      if (isMember) longest = Math.max(longest, timeoutMilliseconds);
    }
    return heardMilliseconds + longest * (1 + driftShare);
  }

  #find(systemId: number, state: SynchronousState): Leased {
    const known = this.#leased.get(systemId);
    if (known) return known;
    const now = this.#now();
    const leased: Leased = {
      state,
      heardMilliseconds: now,
      trustedMilliseconds: now,
      progressedMilliseconds: now,
      received: this.#group.followers.find(systemId)?.received ?? 0,
      isStuck: false,
      doubtedMilliseconds: undefined,
    };
    this.#leased.set(systemId, leased);
    return leased;
  }

  #now(): number {
    return this.#clock.monotonicMilliseconds();
  }
}
