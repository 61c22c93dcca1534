import type { Catalog } from '../catalog/catalog.ts';
import type { Conditions } from '../catalog/conditions.ts';
import {
  isOfEarlierGeneration,
  type Protection,
  type ProtectionMember,
} from '../catalog/protection.ts';

interface Told {
  readonly catalog: Catalog;
  readonly conditions: Conditions;
}

export function namesOf(members: readonly ProtectionMember[]): string {
  const names = members.map(({ name }) => name);
  return `follower${names.length === 1 ? '' : 's'} ${names.join(', ')}`;
}

/** From which update on the promise does not hold, in the words of both sides. */
export function unprotectedText(
  { behind, atMilliseconds }: Extract<Protection, { state: 'unprotected' }>,
  lost: readonly ProtectionMember[],
): string {
  const since = new Date(atMilliseconds).toISOString();
  return `since ${since} replies to hosts do not wait for ${namesOf(lost)}: updates from ${behind + 1} on may be acknowledged and missing there`;
}

/** What the newest record says, on the primary and on whoever has it from there. */
export function tellProtection({ catalog, conditions }: Told, isPrimary: boolean): void {
  const { name, lineage } = catalog;
  const isOver = catalog.protection && isOfEarlierGeneration(catalog.protection, lineage);
  const protection = isOver ? undefined : catalog.protection;
  if (protection?.state === 'unprotected' && protection.lost.length > 0) {
    const { lost } = protection;
    const back = isPrimary
      ? 'it is waited for again once it has caught up'
      : 'ask the primary for more';
    conditions.raise(name, {
      code: 'sync_lost',
      severity: 'error',
      message: `group ${name}: ${unprotectedText(protection, lost)}; ${back}`,
      nextCommand: isPrimary ? `jnbd secondary list ${name}` : `jnbd group show ${name}`,
    });
    return;
  }
  const text =
    protection?.state === 'protected'
      ? `replies to hosts of group ${name} wait for ${namesOf(protection.members)} from update ${protection.number} on`
      : `group ${name} waits for no follower`;
  conditions.clear(name, 'sync_lost', text);
}

export function tellStall(
  { catalog: { name }, conditions }: Told,
  stall: { readonly lost: readonly ProtectionMember[]; readonly needed: number } | undefined,
  acknowledged: number,
): void {
  if (!stall) {
    conditions.clear(name, 'sync_stalled', `hosts of group ${name} are answered again`);
    return;
  }
  const { lost, needed } = stall;
  const whom =
    lost.length > 0
      ? `${namesOf(lost)}, not heard or not keeping up`
      : `${needed} synchronous followers, and there are fewer`;
  conditions.raise(name, {
    code: 'sync_stalled',
    severity: 'error',
    message: `hosts of group ${name} wait for ${whom}: updates from ${acknowledged + 1} on are not answered; they go on when enough are in step, or without them: jnbd group configure ${name} --on-sync-loss degrade`,
    nextCommand: `jnbd secondary list ${name}`,
  });
}

/** One that is away though enough others are there. */
export function tellAway(
  { catalog: { name: group }, conditions }: Told,
  name: string,
  isAway: boolean,
): void {
  const subject = `${group} ${name}`;
  if (!isAway) {
    conditions.clear(
      subject,
      'sync_follower_lost',
      `follower ${name} of group ${group} is in step`,
    );
    return;
  }
  conditions.raise(subject, {
    code: 'sync_follower_lost',
    severity: 'warning',
    message: `synchronous follower ${name} of group ${group} is not heard or does not keep up; enough others are in step, and hosts do not wait for it`,
    nextCommand: `jnbd secondary list ${group}`,
  });
}
