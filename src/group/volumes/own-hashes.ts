import { JnbdError } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import { unitHashBytes, unitsIn } from '../../volume/unit-hashes.ts';
import type { Group } from '../order/group.ts';
import type { Volume } from '../apply/volume.ts';

/** While the worker hashes it applies nothing: so much takes it a hundredth of a second. */
const askedBytesMax = 8 * MiB;

/**
 * Hashes of what a volume's file holds of [offset, end), which begins with a unit: what is applied, and of
 * what is being applied any part. Rejects with JnbdError volume_unreadable.
 */
export async function ownHashes(
  group: Group,
  { catalog, backingFile }: Volume,
  offset: number,
  end: number,
): Promise<Uint8Array> {
  const hashes = Buffer.alloc(unitsIn(end - offset) * unitHashBytes);
  const place = { id: catalog.id, path: backingFile };
  let filled = 0;
  for (let at = offset; at < end; at += askedBytesMax) {
    if (group.state !== 'normal') {
      throw new JnbdError('group_state', `group ${group.name} is ${group.state}`);
    }
    const length = Math.min(askedBytesMax, end - at);
    const made = await new Promise<Uint8Array | { readonly failure: string }>((done) =>
      group.driver.requests.hash(place, at, length, done),
    );
    if ('failure' in made) throw new JnbdError('volume_unreadable', made.failure);
    hashes.set(made, filled);
    filled += made.length;
  }
  return hashes;
}
