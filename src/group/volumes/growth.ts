import type { CatalogVolume } from '../catalog/catalog.ts';
import type { FollowerCursor } from '../followers/follower-cursor.ts';
import type { Group } from '../order/group.ts';

/** Followers that are there take a moment; those that are away are not waited for any longer. */
const waitMilliseconds = 10_000;
const lookMilliseconds = 5;
const lookAgainMilliseconds = 1000;

/**
 * Whoever follows has the new size on its disk before hosts here see it (SAFETY 34). A follower tells that
 * it has received the record only when its own file has grown. The wait ends after ten seconds all the
 * same: then a condition names those that are missing, until they have grown too.
 */
export async function followersGrown(
  group: Group,
  volume: CatalogVolume,
  number: number,
): Promise<void> {
  const { clock } = group;
  const deadline = clock.monotonicMilliseconds() + waitMilliseconds;
  for (;;) {
    const missing = missingAt(group, number);
    const canCome = missing.some(({ state }) => state !== 'behind' && state !== 'suspended');
    const isOver = clock.monotonicMilliseconds() >= deadline || group.state !== 'normal';
    if (!canCome || isOver) {
      if (missing.length > 0) watchMissing(group, volume, number);
      return;
    }
    await new Promise<void>((resolve) => clock.after(lookMilliseconds, resolve));
  }
}

function missingAt({ followers }: Group, number: number): FollowerCursor[] {
  return followers.list().filter(({ received }) => received < number);
}

function watchMissing(group: Group, volume: CatalogVolume, number: number): void {
  const { name, clock, conditions } = group;
  const subject = `${name}/${volume.name}`;
  const missing = missingAt(group, number).map((follower) => follower.name);
  const isThere = group.volumes.get(volume.name)?.catalog.id === volume.id;
  if (missing.length === 0 || !isThere || group.role !== 'primary') {
    conditions.clear(
      subject,
      'followers_not_grown',
      `volume ${subject} has grown at its followers`,
    );
    return;
  }
  if (group.state === 'closing' || group.state === 'closed') return;
  conditions.raise(subject, {
    code: 'followers_not_grown',
    severity: 'warning',
    message: `volume ${subject} has grown here, and not yet at ${missing.join(', ')}: they had not received that within ${waitMilliseconds / 1000} s`,
    nextCommand: `jnbd secondary list ${name}`,
  });
  clock.after(lookAgainMilliseconds, () => watchMissing(group, volume, number));
}
