import type { Group } from '../../group/order/group.ts';
import type { Clock } from '../../platform/clock.ts';
import type { SynchronousTold } from '../protocol/wire.ts';

/** Acknowledgements that nobody confirmed yet; with more, the lease counts from older ones. */
const sentMax = 1024;
/** Of a time limit, for clocks that do not go at the same rate. */
const driftShare = 0.01;

interface SentAcknowledgement {
  readonly serial: number;
  readonly atMilliseconds: number;
  readonly wallMilliseconds: number;
}

/**
 * What this system knows of whether its source may have gone on without it. A source that hosts wait for
 * takes a follower for lost when a time limit has passed since an acknowledgement of it counted there; so
 * one that counted, and was sent less than that limit ago, proves that it did not. So long by both clocks:
 * the monotonic one stands still while a virtual machine is paused, and the other may be set back. Lives as long
 * as the group is open, over all sources and connections.
 */
export class SourceLease {
  readonly #clock: Clock;
  #sourceSystemId: number | undefined;
  /** Of the present source: the first one that it was sent, and the last. */
  #first: number;
  #last: number;
  #sent: SentAcknowledgement[] = [];
  /** The newest that counted. */
  #counted: SentAcknowledgement | undefined;

  /** `start`: of the serials; random, so that they are not those of an earlier life. */
  constructor(clock: Clock, start: number) {
    this.#clock = clock;
    this.#last = start;
    this.#first = start + 1;
  }

  /** What another source said counts no more. */
  begin(sourceSystemId: number): void {
    if (sourceSystemId === this.#sourceSystemId) return;
    this.#sourceSystemId = sourceSystemId;
    this.end();
  }

  /** This system trusts no source any more, and may tell it so. */
  end(): void {
    this.#first = this.#last + 1;
    this.#sent = [];
    this.#counted = undefined;
  }

  /** The serial of an acknowledgement that is sent now. */
  sent(): number {
    this.#last += 1;
    if (this.#sent.length < sentMax) {
      this.#sent.push({
        serial: this.#last,
        atMilliseconds: this.#clock.monotonicMilliseconds(),
        wallMilliseconds: this.#clock.wallMilliseconds(),
      });
    }
    return this.#last;
  }

  /** Undefined: the source waits for this system no more. */
  told(told: Pick<SynchronousTold, 'heard'> | undefined): void {
    if (!told) {
      this.#counted = undefined;
      return;
    }
    const { heard } = told;
    if (heard < this.#first || heard > this.#last) return;
    let counted = 0;
    for (const sent of this.#sent) {
      if (sent.serial > heard) break;
      this.#counted = sent;
      counted += 1;
    }
    this.#sent.splice(0, counted);
  }

  /** For how long the source still does not take this system for lost; 0: it may have. */
  leftMilliseconds(timeoutMilliseconds: number): number {
    if (!this.#counted) return 0;
    const { atMilliseconds, wallMilliseconds } = this.#counted;
    const since = Math.max(
      this.#clock.monotonicMilliseconds() - atMilliseconds,
      this.#clock.wallMilliseconds() - wallMilliseconds,
    );
    return Math.max(0, timeoutMilliseconds * (1 - driftShare) - since);
  }
}

const leases = new WeakMap<Group, SourceLease>();

/** Of the group while it is open, whoever follows for it: what is known of a source stays true while nobody does. */
export function leaseOf(group: Group): SourceLease {
  let lease = leases.get(group);
  if (!lease) {
    // Random, and at most half of what a serial can be.
    lease = new SourceLease(group.clock, Math.floor(group.incarnation / 2));
    leases.set(group, lease);
  }
  return lease;
}

/** For how long the group's source still waits for this system, by the newest record of that; 0: it may not. */
export function leaseLeftOf(group: Group): number {
  const { protection } = group.catalog;
  if (group.role !== 'secondary' || protection?.state !== 'protected') return 0;
  return leaseOf(group).leftMilliseconds(protection.timeoutMilliseconds);
}
