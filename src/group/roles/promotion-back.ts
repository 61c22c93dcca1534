import { JnbdError } from '../../platform/errors.ts';
import { lastingNumber } from '../catalog/catalog.ts';
import type { Group } from '../order/group.ts';
import type { Rollbacks } from '../system/rollbacks.ts';
import type { System } from '../system/system.ts';
import { checkPromotion, promoteGroup } from './promotion.ts';

/**
 * Whether a promotion as of that update has to put contents back: what stands behind it is in the volumes, or in the
 * catalog, and is not just left out.
 */
export function goesBack({ role, catalog, follow, watermarks }: Group, number: number): boolean {
  if (role !== 'secondary' || follow.state?.resync || number >= watermarks.newest) return false;
  const { applied } = watermarks;
  return number < Math.max(applied, follow.state?.shows ?? 0, lastingNumber(catalog));
}

/**
 * Makes a secondary primary with everything that is here, and its volumes what they were at that update before hosts are
 * let in: nothing is left out of its history, so whoever has followed goes on. What they held is gathered first, and that
 * they go back there is in the catalog with the new role: a crash leaves the secondary as it was, or a primary that
 * goes on with it. Nothing is received any more. Rejects with JnbdError: state_refuses, confirmation_needed, disk_full,
 * write_failed; then nothing has changed.
 */
export async function promoteBack(
  system: System,
  rollbacks: Rollbacks,
  group: Group,
  number: number,
  force: boolean,
): Promise<void> {
  checkPromotion(group, system.systemId, force);
  const plan = await rollbacks.prepare(group, number);
  try {
    if (!goesBack(group, number)) throw received(group);
    promoteGroup(group, system.systemId, force, plan);
  } catch (error) {
    rollbacks.drop(group);
    throw error;
  }
}

function received({ name, role }: Group): JnbdError {
  const text = `group ${name} is ${role} here, and not what it was when its promotion began; try again`;
  return new JnbdError('state_refuses', text);
}
