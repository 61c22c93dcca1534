import { assert } from '../../platform/assert.ts';

/**
 * `registering`: the source is asked to keep what this system needs. `reading`: reads are under way, or
 * the pace says when the next one is. `waiting`: something failed, and is tried again. `refused`: the
 * source, or what it has, does not let us go on: a command is needed; it is asked again now and then.
 * `suspended`: by command.
 */
export type FollowerState =
  | 'registering'
  | 'reading'
  | 'waiting'
  | 'refused'
  | 'suspended'
  | 'closed';

export const followerTransitions: Record<FollowerState, readonly FollowerState[]> = {
  registering: ['reading', 'waiting', 'refused', 'suspended', 'closed'],
  reading: ['registering', 'waiting', 'refused', 'suspended', 'closed'],
  waiting: ['registering', 'suspended', 'closed'],
  refused: ['registering', 'suspended', 'closed'],
  suspended: ['registering', 'closed'],
  closed: [],
};

export function changeFollowerState(from: FollowerState, to: FollowerState): FollowerState {
  assert(followerTransitions[from].includes(to), `follower state ${from} -> ${to}`);
  return to;
}
