import { JnbdError } from '../../platform/errors.ts';
import { heardNeeded, isOfEarlierGeneration } from '../catalog/protection.ts';
import type { Group } from '../order/group.ts';

/** What is known here of what hosts were answered and is not here. */
export interface KnownLoss {
  readonly state: 'zero' | 'unknown';
  /** For people: since when, or from which update on, it is not known. */
  readonly text: string;
}

/** Another system that has the group, as far as it was asked. */
interface Other {
  readonly systemId: number;
  readonly name: string;
  readonly aheadUpdates: number;
  readonly isHeard: boolean;
}

type LosingGroup = Pick<Group, 'catalog' | 'follow' | 'watermarks'>;

/**
 * Whether every update that hosts were answered is on a secondary (SAFETY 23). `leaseMilliseconds`: for how
 * long its source still waits for it, by the rule of the newest record; `others`: undefined where nobody
 * was asked.
 */
export function knownLoss(
  group: LosingGroup,
  systemId: number,
  leaseMilliseconds: number,
  others: readonly Other[] | undefined,
): KnownLoss {
  const { catalog, follow, watermarks } = group;
  const { protection } = catalog;
  const behind = `what was acknowledged behind update ${watermarks.durable} may be missing here`;
  const unknown = (why: string): KnownLoss => ({ state: 'unknown', text: `unknown: ${why}` });
  if (!protection) return unknown(`replies to hosts waited for no follower: ${behind}`);
  if (protection.state === 'unprotected') {
    const since = new Date(protection.atMilliseconds).toISOString();
    return unknown(
      `since ${since} replies to hosts do not wait for followers: updates from ${protection.behind + 1} on may be acknowledged and missing here`,
    );
  }
  if (isOfEarlierGeneration(protection, catalog.lineage)) {
    return unknown(
      `another system was promoted since replies to hosts waited for this one: ${behind}`,
    );
  }
  if (!protection.members.some((member) => member.systemId === systemId)) {
    const names = protection.members.map(({ name }) => name).join(', ');
    return unknown(`replies to hosts wait for ${names} and not for this system: ${behind}`);
  }
  if (follow.state?.resync || (follow.state?.copies.length ?? 0) > 0) {
    return unknown(`the volumes here are not complete: ${behind}`);
  }
  if (leaseMilliseconds <= 0) {
    const limit = protection.timeoutMilliseconds / 1000;
    return unknown(
      `its source has confirmed nothing for ${limit}s, and may have gone on without this system: ${behind}`,
    );
  }
  const missing = missingForPromotion(group, systemId, others);
  if (missing !== undefined) return unknown(missing);
  return { state: 'zero', text: 'zero loss: every update that was acknowledged to hosts is here' };
}

/** How many members have to be heard, this one included, so that the furthest has everything. */
export function membersToHear({ catalog: { protection } }: LosingGroup, systemId: number): number {
  if (protection?.state !== 'protected') return 1;
  const isMember = protection.members.some((member) => member.systemId === systemId);
  return isMember ? heardNeeded(protection) : 1;
}

/** Of any n of m members this one may be the one without: enough have to be heard, and none be further. */
function missingForPromotion(
  group: LosingGroup,
  systemId: number,
  others: readonly Other[] | undefined,
): string | undefined {
  const needed = membersToHear(group, systemId);
  const { protection } = group.catalog;
  if (needed === 1 || protection?.state !== 'protected') return undefined;
  const { members } = protection;
  const rule = `replies to hosts wait for ${protection.needed} of ${members.length} followers, so ${needed} of them have to be heard`;
  if (!others) return `${rule}: jnbd promote ${group.catalog.name} --dry-run asks them`;
  const ids = new Set(members.map((member) => member.systemId));
  const isMember = (other: Other): boolean =>
    ids.has(other.systemId) && other.systemId !== systemId;
  const heard = others.filter((other) => isMember(other) && other.isHeard);
  const ahead = heard.find(({ aheadUpdates }) => aheadUpdates > 0);
  if (ahead)
    return `member ${ahead.name} has ${ahead.aheadUpdates} updates more: promote it instead`;
  return heard.length + 1 < needed ? `${rule}, and ${heard.length + 1} are` : undefined;
}

/** Throws confirmation_needed where a promotion of any n of m would be a guess. */
export function checkHeard(group: LosingGroup, systemId: number, others: readonly Other[]): void {
  const missing = missingForPromotion(group, systemId, others);
  if (missing === undefined) return;
  throw new JnbdError(
    'confirmation_needed',
    `group ${group.catalog.name} cannot be promoted: ${missing}; --force promotes it all the same`,
  );
}
