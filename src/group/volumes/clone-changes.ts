import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import { isHidden } from '../catalog/snapshots.ts';
import { checkName } from '../catalog/names.ts';
import type { Group } from '../order/group.ts';
import type { Clone } from '../snapshots/clones.ts';
import { isIncomplete } from './missing-contents.ts';
import { findSnapshot } from './snapshot-changes.ts';

/** Clones and snapshots are called by one kind of name, and there may be many of them. */
const clonesPerGroupMax = 256;

/**
 * Makes a writable clone of a snapshot on this system, whatever the group is here. Throws JnbdError: state_refuses,
 * snapshot_not_found, exists_differently, disk_full, write_failed.
 */
export function createClone(
  group: Group,
  snapshotName: string,
  name: string,
): { readonly clone: Clone; readonly created: boolean } {
  checkName('clone', name);
  const { snapshots, catalog, clock } = group;
  const { clones } = snapshots;
  const full = `${group.name}@${name}`;
  const existing = clones.find(name);
  if (existing?.entry.snapshot.name === snapshotName) return { clone: existing, created: false };
  if (existing) {
    const text = `${full} is a clone of snapshot ${group.name}@${existing.entry.snapshot.name}`;
    throw new JnbdError('exists_differently', text);
  }
  if (findSnapshot(group, name)) throw new JnbdError('exists_differently', `${full} is a snapshot`);
  if (group.views.find(name)) throw new JnbdError('exists_differently', `${full} is a view`);
  const snapshot = requireSnapshot(group, snapshotName);
  const { isActive, answerable } = group.replies.gate;
  const refuse = (why: string): never => {
    throw new JnbdError(
      'state_refuses',
      `no clone of ${group.name}@${snapshotName} can be made: ${why}`,
    );
  };
  if (group.state !== 'normal') refuse(`the group is ${group.state}: ${group.failureText}`);
  if (group.catalog.journalOnly === true) refuse('this system keeps no volumes of the group');
  if (isIncomplete(group))
    refuse('what the group holds is of no one instant before more is applied');
  if (snapshot.number > catalog.number || (isActive && snapshot.number > answerable))
    refuse('it is not everywhere yet where hosts wait for it; try again');
  if (clones.isLeaving(name)) refuse('one of that name is being deleted; try again');
  if (clones.list.length >= clonesPerGroupMax)
    refuse(`there are ${clonesPerGroupMax} clones, which is the most; delete one`);
  try {
    const clone = clones.create(name, snapshot, clock.wallMilliseconds());
    group.changed();
    return { clone, created: true };
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot make clone ${full}`) ?? error;
  }
}

/** Throws JnbdError snapshot_not_found. */
export function requireSnapshot(group: Group, name: string) {
  const snapshot = findSnapshot(group, name);
  if (snapshot) return snapshot;
  const shown = group.snapshots.living.filter((each) => !isHidden(each));
  const names = shown.map((each) => each.name).join(', ') || 'none';
  throw new JnbdError(
    'snapshot_not_found',
    `snapshot ${group.name}@${name} does not exist; there are: ${names}`,
  );
}

/** What was written to it is lost. Rejects with JnbdError: volume_in_use, confirmation_needed. */
export async function deleteClone(group: Group, clone: Clone, force: boolean): Promise<void> {
  const full = `${group.name}@${clone.name}`;
  const [session] = clone.volumes.flatMap(({ sessions }) => [...sessions]);
  if (session) {
    const text = `clone ${full} is in use by ${session.client.peer}; disconnect it first`;
    throw new JnbdError('volume_in_use', text);
  }
  const { overlay } = clone;
  if (overlay.isWritten && !force) {
    throw new JnbdError(
      'confirmation_needed',
      `what was written to clone ${full} (${formatSize(overlay.allocatedBytes)}) is on no other system, and lost with it; add --force`,
    );
  }
  await group.snapshots.clones.remove(clone);
  group.changed();
}
