import type { Following, UpstreamState } from '../control/following.ts';
import { knownLoss } from '../group/roles/known-loss.ts';
import type { Rollbacks } from '../group/system/rollbacks.ts';
import type { System } from '../group/system/system.ts';
import { formatSize } from '../platform/size-text.ts';
import { leaseLeftOf } from '../replicator/follower/source-lease.ts';
import type { Secondaries } from '../replicator/peers/secondaries.ts';
import type { ComparisonState } from '../replicator/roles/comparisons.ts';
import type { FollowedGroups } from '../replicator/roles/followed-groups.ts';

/** As long as a handoff waits for what is on its way. */
const promotionMillisecondsMax = 30_000;

/** What the replicator does, as verbs and status need it. */
export function followingOf(
  { systemId }: System,
  followed: FollowedGroups,
  secondaries: Secondaries,
  rollbacks: Rollbacks,
  others: Following['others'],
): Following {
  return {
    others,
    follow: (wish) => followed.follow(wish),
    unfollow: (name) => followed.unfollow(name),
    suspend: (name, isSuspended) => followed.suspend(name, isSuspended),
    handOff: (name, to, waitMilliseconds) => followed.handOff(name, to, waitMilliseconds),
    addSecondary: (wish) => secondaries.add(wish),
    removeSecondary: (name, secondary) => secondaries.remove(name, secondary),
    promote: (name, force, at) =>
      followed.promote(name, {
        force,
        at,
        by: rollbacks,
        waitMilliseconds: at === undefined ? promotionMillisecondsMax : 0,
      }),
    upstream(group) {
      const follower = followed.find(group);
      if (!follower) return comparing(followed.comparisons.find(group));
      const { state, failure, decision, source } = follower;
      return {
        state,
        failure: failure?.message ?? '',
        limitedBy: decision && decision.limitedBy !== 'none' ? decision.limitedBy : null,
        newest: source?.watermarks.newest,
        unsentBytes: source?.unsentBytes ?? 0,
        lagSeconds: follower.lagSeconds(),
        leaseMilliseconds: leaseLeftOf(group),
        loss: knownLoss(group, systemId, leaseLeftOf(group), undefined),
        resync: follower.resync,
      };
    },
  };
}

/** A group that receives nothing because its contents are compared with its source's. */
function comparing(comparison: ComparisonState | undefined): UpstreamState | undefined {
  if (!comparison) return undefined;
  const { failure, comparedBytes } = comparison;
  return {
    state: 'comparing',
    failure: failure?.message ?? '',
    limitedBy: comparedBytes === 0 ? null : `comparing: ${formatSize(comparedBytes)} so far`,
    newest: undefined,
    unsentBytes: 0,
    lagSeconds: 0,
    leaseMilliseconds: 0,
    loss: {
      state: 'unknown',
      text: 'unknown: the volumes here are compared with those of the source',
    },
    resync: undefined,
  };
}
