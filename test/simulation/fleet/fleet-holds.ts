import type { Group } from '../../../src/group/order/group.ts';
import { partedContents } from '../../../src/group/volumes/shown-contents.ts';
import type { FleetMember } from './fleet-member.ts';

/** Of what others that do not follow need, so much of the journal is kept. */
const floorShare = 0.5;

interface Seen {
  group: Group | undefined;
  released: number;
  usedBytes: number;
  /** Of the followers, when they were looked at last. */
  revision: number;
  /** What was gone when a system that does not follow yet was expected, which nothing holds for it any more. */
  readonly goneBefore: Map<number, number>;
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
    this.#noteExpected(seen, group);
    if (group === seen.group && released !== seen.released) {
      this.#lookAtFollowers(source, group, seen);
      this.#lookAtFloor(source, group, seen.released, Math.max(usedBytes, seen.usedBytes));
    } else if (group !== seen.group) {
      this.#lookAtFollowers(source, group, seen);
    }
    seen.group = group;
    seen.released = released;
    seen.usedBytes = usedBytes;
  }

  #of(source: FleetMember): Seen {
    let seen = this.#seen.get(source);
    if (!seen) {
      seen = {
        group: undefined,
        released: 0,
        usedBytes: 0,
        revision: -1,
        goneBefore: new Map(),
      };
      this.#seen.set(source, seen);
    }
    return seen;
  }

  /** A system that was made primary may itself have begun behind what another one has. */
  #noteExpected(seen: Seen, group: Group): void {
    const { followers, watermarks } = group;
    if (group === seen.group && followers.revision === seen.revision) return;
    seen.revision = followers.revision;
    const expected = followers.list().filter(({ isExpected }) => isExpected);
    for (const { systemId } of expected) {
      if (!seen.goneBefore.has(systemId)) seen.goneBefore.set(systemId, watermarks.released);
    }
    for (const systemId of seen.goneBefore.keys()) {
      if (!expected.some((each) => each.systemId === systemId)) seen.goneBefore.delete(systemId);
    }
  }

  /** What a registered follower does not have is not released (invariant 5). */
  #lookAtFollowers(
    source: FleetMember,
    { catalog, followers, watermarks }: Group,
    { goneBefore }: Seen,
  ): void {
    const { released, newest } = watermarks;
    const told = { lineage: catalog.lineage, newest };
    for (const { systemId, name, state } of followers.list()) {
      const follower = this.#members.find((each) => each.systemId === systemId);
      const isItsSource = follower?.sourceSystemId === source.systemId;
      if (!follower || !isItsSource || state === 'behind' || follower.isCompared) continue;
      // It needs nothing but a comparison, which begins where the source is now.
      if (follower.group && partedContents(follower.group, told)) continue;
      const { durable = released } = follower;
      if (Math.max(durable, goneBefore.get(systemId) ?? 0) >= released) continue;
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
