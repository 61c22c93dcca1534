import { JnbdError } from '../../platform/errors.ts';
import type { CatalogChange } from '../catalog/catalog.ts';
import { CatalogChanges } from './catalog-changes.ts';
import type { Group } from './group.ts';

/** A numbered change of the catalog: it holds once it is durable in the journal. */
export async function makeChange(group: Group, change: CatalogChange): Promise<void> {
  if (group.refusesWrites) {
    const what = group.state === 'normal' ? group.role : group.state;
    throw new JnbdError('state_refuses', `group ${group.name} is ${what}: ${group.failureText}`);
  }
  const recordBytes = CatalogChanges.recordBytes(change);
  while (!admits(group, recordBytes)) {
    refuseWhenFull(group, recordBytes);
    await new Promise<void>((resolve) => group.clock.after(5, resolve));
    if (group.refusesWrites) throw new JnbdError('state_refuses', group.failureText);
  }
  await group.changes.append(group.journal, group.index, change);
}

/** What holds the journal back may do so for days: nobody waits for a command that long. */
function refuseWhenFull(group: Group, recordBytes: number): void {
  const { followers, name } = group;
  if (!followers.keepJournalFull(recordBytes) || followers.mayBeLeftBehind) return;
  throw new JnbdError(
    'journal_full',
    `the journal of group ${name} is full, and what it holds is still needed; jnbd group show ${name} says by whom`,
  );
}

function admits(group: Group, recordBytes: number): boolean {
  const { sequence } = group.chain.current.header;
  return group.journal.admits(recordBytes) && group.index.admits(1, sequence + 1);
}
