import type { Group } from '../../group/order/group.ts';
import type { JournalAnswer } from '../protocol/wire.ts';

/**
 * Whether what the source does not have durably yet may come too. Not where somebody follows this system: what
 * hosts of a source that is lost were answered goes on from here, and nobody would say any more how far that is.
 * Nor where it keeps the journal alone, which cannot go back behind what its source lost.
 */
export function takesAhead({ catalog, followers }: Group): boolean {
  return catalog.journalOnly !== true && followers.count === 0;
}

/**
 * What the source has durably itself, as it says. What comes on a stream may be ahead of that, and is neither
 * applied, shown nor passed on until the source says so (SAFETY 22).
 */
export function confirmOnStream(group: Group, durable: number): void {
  const { replies } = group;
  const { confirmed } = replies.gate;
  if (durable <= confirmed && Number.isFinite(confirmed)) return;
  replies.setConfirmed(durable);
  tellWatchers(group);
}

/** Reads bring nothing that is not durable: once the source has all that is here nothing is held any more. */
export function confirmByRead(group: Group, { watermarks: { durable } }: JournalAnswer): void {
  const { replies, watermarks } = group;
  const { confirmed } = replies.gate;
  if (!Number.isFinite(confirmed)) return;
  if (durable >= watermarks.newest) replies.confirmAll();
  else if (durable > confirmed) replies.setConfirmed(durable);
  else return;
  tellWatchers(group);
}

function tellWatchers({ watchers }: Group): void {
  for (const watcher of watchers) watcher.changed?.();
}
