import type { Group } from '../../../src/group/order/group.ts';
import type { FleetMember } from './fleet-member.ts';

/** Of what others that do not follow need, so much of the journal is kept. */
const floorShare = 0.5;

interface Seen {
  group: Group | undefined;
  released: number;
  usedBytes: number;
}

/** Looks after every event whether what was released is needed by somebody. */
export class FleetHolds {
  readonly #members: readonly FleetMember[];
  readonly #report: (text: string) => void;
  readonly #seen = new Map<FleetMember, Seen>();

  constructor(members: readonly FleetMember[], report: (text: string) => void) {
    this.#members = members;
    this.#report = report;
  }

  look(source: FleetMember): void {
    const { group } = source;
    if (!group || group.state === 'recovering') return;
    const seen = this.#of(source);
    const { released } = group.watermarks;
    const { usedBytes } = group.chain;
    if (group === seen.group && released !== seen.released) {
      this.#lookAtFollowers(source, group);
      this.#lookAtFloor(source, group, seen.released, Math.max(usedBytes, seen.usedBytes));
    } else if (group !== seen.group) {
      this.#lookAtFollowers(source, group);
    }
    seen.group = group;
    seen.released = released;
    seen.usedBytes = usedBytes;
  }

  #of(source: FleetMember): Seen {
    let seen = this.#seen.get(source);
    if (!seen) {
      seen = { group: undefined, released: 0, usedBytes: 0 };
      this.#seen.set(source, seen);
    }
    return seen;
  }

  /** What a registered follower does not have is not released (invariant 5). */
  #lookAtFollowers(source: FleetMember, { followers, watermarks: { released } }: Group): void {
    for (const { systemId, name, state } of followers.list()) {
      const follower = this.#members.find((each) => each.systemId === systemId);
      const isItsSource = follower?.sourceSystemId === source.systemId;
      if (!follower || !isItsSource || state === 'behind' || follower.isCompared) continue;
      const { durable = released } = follower;
      if (durable >= released) continue;
      this.#report(
        `${source.name} released ${released}, and ${name}, which is ${state}, has ${durable}`,
      );
    }
  }

  /** While there is room, nothing is that somebody needs who may follow it next (SAFETY 15). */
  #lookAtFloor(source: FleetMember, group: Group, before: number, usedBytes: number): void {
    const { followers, chain, watermarks } = group;
    if (usedBytes > chain.capacityBytes * floorShare) return;
    const held = new Set<number>();
    for (const { systemId, state } of followers.list()) {
      held.add(systemId);
      if (state !== 'behind') continue;
      for (const below of followers.members.toldBy(systemId)) held.add(below.systemId);
    }
    for (const { systemId, name, received } of followers.members.list()) {
      if (held.has(systemId) || received >= watermarks.released) continue;
      // Of those below one that was behind, some of what they need was gone when that one came back.
      if (received < before) continue;
      this.#report(
        `${source.name} released ${watermarks.released}, and ${name}, which may follow it next, has ${received} as far as it knows`,
      );
    }
  }
}
