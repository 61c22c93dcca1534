import {
  followerTransitions as cursorTransitions,
  roleTransitions,
} from '../../../src/group/catalog/states.ts';
import type { Group } from '../../../src/group/order/group.ts';
import type { JnbdError } from '../../../src/platform/errors.ts';
import { followerTransitions } from '../../../src/replicator/follower/follower-states.ts';
import type { FaultCounter } from '../faults.ts';
import { linkFaultKinds } from '../simulated-links.ts';
import type { FleetMember } from './fleet-member.ts';
import { followCodeKinds, notBroughtAbout } from './fleet-kinds.ts';

function ofTable(what: string, table: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(table).flatMap(([from, all]) =>
    all.map((to) => `${what} ${from} -> ${to}`),
  );
}

/** What campaigns have to bring about. */
export const fleetKinds: readonly string[] = [
  ...linkFaultKinds,
  ...followCodeKinds,
  ...ofTable('role', roleTransitions),
  ...ofTable('cursor', cursorTransitions),
  ...ofTable('follower', followerTransitions),
].filter((kind) => !notBroughtAbout.has(kind));

/** Of one member's life. */
interface Seen {
  group: Group | undefined;
  role: string;
  follower: string | undefined;
  failure: JnbdError | undefined;
  events: number;
  revision: number;
  readonly cursors: Map<number, string>;
}

/** Counts changes of state, and errors, by looking after every event. */
export class FleetWatch {
  readonly #counter: FaultCounter;
  readonly #report: (text: string) => void;
  readonly #seen = new Map<FleetMember, Seen>();

  constructor(counter: FaultCounter, report: (text: string) => void) {
    this.#counter = counter;
    this.#report = report;
    counter.expect(fleetKinds);
  }

  ended(member: FleetMember): void {
    this.#seeEvents(member, this.#of(member));
    this.#seen.delete(member);
  }

  look(member: FleetMember): void {
    const seen = this.#of(member);
    const { group } = member;
    if (group !== seen.group) {
      // It is the same one, with another role perhaps, when its journal has begun anew.
      const isGone = !group && !member.isRestarting;
      const role = isGone ? '' : seen.role || (group?.role ?? '');
      Object.assign(seen, { group, role, follower: undefined, revision: -1 });
      seen.cursors.clear();
    }
    this.#seeEvents(member, seen);
    if (!group) return;
    if (group.role !== seen.role) {
      this.#counter.count(`role ${seen.role} -> ${group.role}`);
      seen.role = group.role;
      if (group.role === 'primary') this.#seePromotion(member, group);
    }
    this.#seeFollower(member, seen);
    this.#seeCursors(member, group, seen);
  }

  /** It began a generation that nobody had before it, and keeps something for everybody it knows (SAFETY 18). */
  #seePromotion({ name }: FleetMember, { catalog: { lineage }, followers }: Group): void {
    const [last, before] = [lineage.at(-1), lineage.at(-2)];
    if (last && before && last.generation <= before.generation) {
      this.#report(`${name} is primary in generation ${last.generation}, which there was before`);
    }
    const below = new Set(followers.members.below().map(({ systemId }) => systemId));
    const forgotten = followers.members.list().filter(({ systemId }) => !below.has(systemId));
    if (forgotten.length === 0) return;
    const names = forgotten.map((member) => member.name).join(', ');
    this.#report(`${name} is primary, and keeps nothing for ${names}, which it knows`);
  }

  #of(member: FleetMember): Seen {
    let seen = this.#seen.get(member);
    if (!seen) {
      seen = {
        group: undefined,
        role: '',
        follower: undefined,
        failure: undefined,
        events: 0,
        revision: -1,
        cursors: new Map(),
      };
      this.#seen.set(member, seen);
    }
    return seen;
  }

  #seeFollower(member: FleetMember, seen: Seen): void {
    const { follower } = member;
    const state = follower?.state ?? (seen.follower === undefined ? undefined : 'closed');
    if (state !== seen.follower) {
      if (seen.follower !== undefined) this.#counter.count(`follower ${seen.follower} -> ${state}`);
      seen.follower = follower?.state;
    }
    if (follower?.failure === seen.failure) return;
    seen.failure = follower?.failure;
    if (seen.failure) this.#counter.count(`code ${seen.failure.code}`);
  }

  #seeCursors(member: FleetMember, group: Group, seen: Seen): void {
    const { followers } = group;
    if (followers.revision === seen.revision) return;
    seen.revision = followers.revision;
    for (const { systemId, state } of followers.list()) {
      const before = seen.cursors.get(systemId);
      if (before !== undefined && before !== state) {
        this.#counter.count(`cursor ${before} -> ${state}`);
        if (state === 'behind') this.#seeLeftBehind(member, group, systemId);
      }
      seen.cursors.set(systemId, state);
    }
  }

  /** The one that held most back, and not in silence. */
  #seeLeftBehind(member: FleetMember, group: Group, systemId: number): void {
    const { followers, conditions, catalog, name, role } = group;
    const cursor = followers.find(systemId);
    if (!cursor || role !== 'primary') return;
    if (!conditions.has(`${name} ${cursor.name}`, 'follower_behind')) {
      this.#report(`${member.name} left ${cursor.name} behind and told nobody`);
    }
    const rule = catalog.release ?? 'received';
    const further = followers
      .list()
      .find((other) => other.state !== 'behind' && other[rule] < cursor[rule]);
    if (!further) return;
    this.#report(
      `${member.name} left ${cursor.name} behind, at ${cursor[rule]}, and not ${further.name}, at ${further[rule]}`,
    );
  }

  #seeEvents(member: FleetMember, seen: Seen): void {
    const { events } = member.system.daemon;
    for (; seen.events < events.length; seen.events += 1) {
      this.#counter.count(`event ${events[seen.events]?.code}`);
    }
  }
}
