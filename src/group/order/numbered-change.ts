import { JnbdError } from '../../platform/errors.ts';
import type { Journal } from '../../journal/journal.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Clock } from '../../platform/clock.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { admitsRecord, checkTakesRecords } from '../apply/own-record.ts';
import type { CatalogChange } from '../catalog/catalog.ts';
import type { ProtectionChange } from '../catalog/protection.ts';
import { CatalogChanges } from './catalog-changes.ts';

/** What is changed. */
interface ChangedGroup {
  readonly name: string;
  readonly state: string;
  readonly role: string;
  readonly failureText: string;
  readonly refusesWrites: boolean;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly chain: SegmentChain;
  readonly index: BlockIndex;
  readonly changes: CatalogChanges;
  readonly followers: {
    readonly mayBeLeftBehind: boolean;
    keepJournalFull(bytes: number): boolean;
  };
}

/**
 * A numbered change of the catalog: it holds once it is durable in the journal. `appending` is called when it
 * is about to be numbered.
 */
export async function makeChange(
  group: ChangedGroup,
  change: CatalogChange,
  appending: () => void = () => undefined,
): Promise<void> {
  checkTakesRecords(group);
  const recordBytes = CatalogChanges.recordBytes(change);
  while (!admits(group, recordBytes, change.change === 'protection_changed')) {
    refuseWhenFull(group, recordBytes);
    await new Promise<void>((resolve) => group.clock.after(5, resolve));
    checkTakesRecords(group);
  }
  appending();
  await group.changes.append(group.journal, group.index, change);
}

/** Records who replies to hosts wait for. */
export function recordProtection(
  group: ChangedGroup,
): (protection: ProtectionChange, appending: () => void) => Promise<void> {
  return (protection, appending) =>
    makeChange(group, { change: 'protection_changed', protection }, appending);
}

/** What holds the journal back may do so for days: nobody waits for a command that long. */
function refuseWhenFull(group: ChangedGroup, recordBytes: number): void {
  const { followers, name } = group;
  if (!followers.keepJournalFull(recordBytes) || followers.mayBeLeftBehind) return;
  throw new JnbdError(
    'journal_full',
    `the journal of group ${name} is full, and what it holds is still needed; jnbd group show ${name} says by whom`,
  );
}

function admits(group: ChangedGroup, recordBytes: number, isUrgent: boolean): boolean {
  // What fills the index may wait for this very record.
  if (isUrgent) group.index.makeRoom(1, group.chain.current.header.sequence + 1);
  return admitsRecord(group, recordBytes);
}
