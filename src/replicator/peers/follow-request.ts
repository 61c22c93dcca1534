import type { FollowedSource, FollowState } from '../../group/catalog/follow-file.ts';
import type { FollowWish } from '../../group/catalog/follow-wish.ts';
import { generationOf } from '../../group/catalog/lineage.ts';
import type { Group } from '../../group/order/group.ts';
import type { GroupOrigin } from '../../group/system/secondary-group.ts';
import { JnbdError } from '../../platform/errors.ts';
import { parseBatchSize, parsePace } from '../../platform/pace-settings.ts';
import type { Registered } from '../protocol/wire-json.ts';

/** How a group follows when nothing else was said. */
export const followDefaults = { pace: 'immediate', batchSize: 'adaptive', links: 2 } as const;

/** What of a group's following is the user's choice. */
export type SourceChoice = Omit<
  FollowedSource,
  'sourceSystemId' | 'sourceName' | 'handoffsAfter' | 'handoffsThroughGeneration' | 'lostBehind'
>;

/** Who answered a registration. */
export function sourceOf(
  answer: Pick<Registered, 'systemId' | 'name'>,
): Pick<FollowState, 'sourceSystemId' | 'sourceName'> {
  return { sourceSystemId: answer.systemId, sourceName: answer.name };
}

/** The same where the copy of the group begins with it: what was handed over there before is not given again. */
export function firstSourceOf(
  told: Pick<Registered, 'systemId' | 'name' | 'lineage' | 'newest'>,
): Pick<
  FollowState,
  'sourceSystemId' | 'sourceName' | 'handoffsAfter' | 'handoffsThroughGeneration'
> {
  return {
    ...sourceOf(told),
    handoffsAfter: told.newest,
    handoffsThroughGeneration: generationOf(told.lineage),
  };
}

export function followState(wanted: FollowWish, before: FollowState | undefined): SourceChoice {
  const synchronous = wanted.synchronous ?? before?.synchronous;
  return {
    url: wanted.url,
    preferred: wanted.url,
    relief: wanted.relief ?? before?.relief ?? [],
    sourceGroup: wanted.sourceGroup ?? before?.sourceGroup ?? wanted.group,
    isSuspended: before?.isSuspended ?? false,
    pace: wanted.pace ?? before?.pace ?? followDefaults.pace,
    batchSize: wanted.batchSize ?? before?.batchSize ?? followDefaults.batchSize,
    links: wanted.links ?? before?.links ?? followDefaults.links,
    whenFull: wanted.whenFull ?? before?.whenFull ?? 'keep',
    ...(synchronous === undefined ? {} : { synchronous }),
  };
}

/** Whether the group follows so already. */
export function isSameChoice(state: FollowState | undefined, choice: SourceChoice): boolean {
  return (
    state !== undefined &&
    Object.entries(choice).every(
      ([key, value]) => JSON.stringify(Reflect.get(state, key)) === JSON.stringify(value),
    )
  );
}

/** Throws JnbdError argument_invalid. */
export function checkSettings(
  { group, pace, batchSize, seeds, rewind, compare }: FollowWish,
  isHere: boolean,
): void {
  if (seeds.length > 0 && isHere) {
    throw new JnbdError(
      'argument_invalid',
      `follow: group ${group} is here already; --seed is for one that is not`,
    );
  }
  if (compare && !rewind) {
    throw new JnbdError('argument_invalid', 'follow: --compare goes with --rewind');
  }
  if (pace !== undefined) parsePace(pace);
  if (batchSize !== undefined) parseBatchSize(batchSize);
}

/** What a source was asked for may not be wanted any more when it answers. Throws state_refuses. */
export function checkStillFollows(group: Group, before: FollowState | undefined): void {
  const isOver = before !== undefined && group.follow.state === undefined;
  if (group.role !== 'primary' && group.state === 'normal' && !isOver) return;
  throw new JnbdError('state_refuses', `group ${group.name} is not to follow any more`);
}

/** A group that begins with what its source said. */
export function originOf(
  told: Registered,
  choice: SourceChoice,
  journalOnly: boolean,
): GroupOrigin {
  return {
    groupId: told.groupId,
    lineage: told.lineage,
    from: told.from,
    catalogNumber: told.catalog.number,
    nextVolumeId: told.catalog.nextVolumeId,
    volumes: told.catalog.volumes,
    snapshots: told.catalog.snapshots,
    snapshotSchedule: told.catalog.snapshotSchedule,
    journalOnly,
    isCopied: told.copy,
    follow: { ...choice, ...firstSourceOf(told) },
  };
}
