import { assert } from '../../platform/assert.ts';

/** K2. A volume made by `volume create --from` is `unused` until its contents are complete. */
export type VolumeState = 'normal' | 'abnormal' | 'unused';

export const volumeTransitions: Record<VolumeState, readonly VolumeState[]> = {
  unused: ['normal', 'abnormal'],
  normal: ['abnormal', 'unused'],
  abnormal: ['normal', 'unused'],
};

export function changeVolumeState(from: VolumeState, to: VolumeState): VolumeState {
  assert(from === to || volumeTransitions[from].includes(to), `volume state ${from} -> ${to}`);
  return to;
}

/** Only these take host writes (K2). */
export function acceptsHostWrites(state: VolumeState): boolean {
  return state === 'normal';
}

/**
 * K4, from a host's view. `recovering`: not served yet. `normal`: all is well. `abnormal`: damage, or a
 * journal that failed, what can be read is read, nothing is written; or a journal that is full at the
 * start, which is served once it has room. `closing`: what is in flight is answered, then the group is
 * gone.
 */
export type GroupState = 'recovering' | 'normal' | 'abnormal' | 'closing' | 'closed';

export const groupTransitions: Record<GroupState, readonly GroupState[]> = {
  recovering: ['normal', 'abnormal'],
  normal: ['abnormal', 'closing'],
  abnormal: ['normal', 'closing'],
  closing: ['closed'],
  closed: [],
};

export function changeGroupState(from: GroupState, to: GroupState): GroupState {
  assert(groupTransitions[from].includes(to), `group state ${from} -> ${to}`);
  return to;
}

/**
 * K1, of one system. `primary`: hosts write here. `secondary`: it follows another system. `diverged`: it
 * was primary, or followed one, that another system took over from, and has numbers that nobody else has:
 * no host writes here, and it waits for a command.
 */
export type GroupRole = 'primary' | 'secondary' | 'diverged';

export const roleTransitions: Record<GroupRole, readonly GroupRole[]> = {
  primary: ['secondary', 'diverged'],
  secondary: ['primary', 'diverged'],
  diverged: ['secondary', 'primary'],
};

export function changeRole(from: GroupRole, to: GroupRole): GroupRole {
  assert(roleTransitions[from].includes(to), `role ${from} -> ${to}`);
  return to;
}

/**
 * A follower, as its source sees it. `registered`: it has not read yet. `copying`: it gets contents of
 * volumes beside records. `following`: records are all it needs. `suspended`: what it needs is kept, and
 * it is given nothing. `behind`: what it needs is kept no more; it has to register again.
 */
export type FollowerState = 'registered' | 'copying' | 'following' | 'suspended' | 'behind';

export const followerTransitions: Record<FollowerState, readonly FollowerState[]> = {
  registered: ['copying', 'following', 'suspended', 'behind'],
  copying: ['registered', 'following', 'suspended', 'behind'],
  following: ['registered', 'copying', 'suspended', 'behind'],
  suspended: ['registered', 'behind'],
  behind: ['registered'],
};

export function changeFollowerState(from: FollowerState, to: FollowerState): FollowerState {
  assert(from === to || followerTransitions[from].includes(to), `follower state ${from} -> ${to}`);
  return to;
}
