import { JnbdError } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import { describeRollbacks } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';
import { changeRollback, type RollbackPlan } from '../catalog/rollback.ts';
import { extendLineage, generationOf } from '../catalog/lineage.ts';
import { missingContentsBytes } from '../volumes/missing-contents.ts';
import { partedContents } from '../volumes/shown-contents.ts';
import { clearContests, isContested } from '../order/take-over.ts';

/** What stands against making this system the group's primary, whatever its source is like. */
export interface PromotionObstacle {
  readonly text: string;
  /**
   * `by force`: who types it takes the loss that the text tells of. `by itself`: in a moment. `later`: once something
   * is mended here. But for the first there is nothing to lose, only to wait for.
   */
  readonly ends: 'by force' | 'by itself' | 'later';
}

/**
 * Contents that are not complete make no volume: they may show what a host wrote later beside what it
 * wrote before (SAFETY 11).
 */
export function promotionObstacle(group: Group, systemId: number): PromotionObstacle | undefined {
  const { state } = group.follow;
  const { applied, durable, newest } = group.watermarks;
  const copies = state?.copies ?? [];
  const { handedOver, takenOver } = group.catalog;
  if (takenOver) {
    const text = `generation ${takenOver.generation} was begun elsewhere, says system ${takenOver.name}, and what was written there behind update ${takenOver.fork} is not here`;
    return { text, ends: 'by force' };
  }
  if (handedOver && handedOver.to !== systemId) {
    const text = `it was handed over to system ${handedOver.name}, which may be primary already`;
    return { text, ends: 'by force' };
  }
  if (state?.resync) {
    // What it had before is preserved, and becomes what it has.
    if (state.resync.consistentAt) return undefined;
    const text = 'its volumes are of no one instant: a resync that followed a copy is under way';
    return { text, ends: 'by force' };
  }
  if (copies.length > 0) {
    const missing = formatSize(missingContentsBytes(group));
    const text = `the contents of ${copies.length} volumes are not complete: ${missing} are missing`;
    return { text, ends: 'by force' };
  }
  const parted = partedContents(group);
  if (parted) {
    const text = `contents were copied that show updates up to ${parted.number} of another history: the volumes are of no one instant`;
    return { text, ends: 'by force' };
  }
  const shows = state?.shows ?? 0;
  if (newest < shows) {
    const text = `contents were copied that show updates up to ${shows}, and updates from ${newest + 1} on are missing: the volumes are of no one instant`;
    return { text, ends: 'by force' };
  }
  if (durable < newest)
    return { text: `updates up to ${newest} are not durable yet`, ends: 'by itself' };
  const settled = group.changes.settledThrough(durable);
  if (settled < durable) {
    // Its volumes are not the ones that the next change would count on.
    const text = `update ${settled + 1} changes its volumes, and that cannot be done here yet; jnbd status says why`;
    return { text, ends: 'later' };
  }
  if (applied < shows)
    return { text: `updates up to ${shows} are not applied yet`, ends: 'by itself' };
  return undefined;
}

const settleMilliseconds = 20;

/**
 * Waits, so long at most, for what stands against a promotion and only takes a moment: what came becomes durable, and
 * what contents show is applied. Nothing is received meanwhile. Whoever promotes then is told what is left.
 */
export async function untilPromotable(
  group: Group,
  systemId: number,
  milliseconds: number,
): Promise<void> {
  const { clock, watermarks } = group;
  const deadline = clock.monotonicMilliseconds() + milliseconds;
  const isAwaited = (): boolean =>
    group.state === 'normal' &&
    clock.monotonicMilliseconds() < deadline &&
    promotionObstacle(group, systemId)?.ends === 'by itself';
  while (isAwaited()) {
    if (watermarks.durable < watermarks.newest) group.journal.requestDurable();
    group.driver.applyNow();
    // Behind what contents show may stand what the source did not say that it has durably, and never will.
    group.cuts.applyThrough(group.follow.state?.shows ?? 0);
    await new Promise<void>((resolve) => clock.after(settleMilliseconds, resolve));
  }
}

/**
 * Makes this system the group's primary: a new generation begins behind the newest record. It is durable
 * when this returns, and before the first host write (SAFETY 17). Nothing is received any more. A crash
 * before the catalog is replaced leaves a secondary, after it a primary whose follow file is of no use.
 *
 * Every system known to have the group is expected from here on: it finds what it needs when it comes to
 * follow (SAFETY 18). So much may be held in vain by a crash before the catalog is replaced.
 *
 * `rollback`: what its volumes are to go back to before hosts are let in. Throws JnbdError: state_refuses;
 * confirmation_needed where something would be lost; write_failed.
 */
export function promoteGroup(
  group: Group,
  systemId: number,
  force: boolean,
  rollback?: Omit<RollbackPlan, 'number'>,
): void {
  if (group.role === 'primary' && !isContested(group)) return;
  checkPromotion(group, systemId, force);
  const { catalog, changes, watermarks, incarnation } = group;
  const { takenOver } = catalog;
  expectMembers(group, group.follow.state);
  const lineage = extendLineage(catalog.lineage, {
    generation: Math.max(generationOf(catalog.lineage), takenOver?.generation ?? 0) + 1,
    system: systemId,
    incarnation,
    firstNumber: watermarks.newest + 1,
  });
  const volumes = rollback
    ? changeRollback(catalog.volumes, { change: 'rollback_begun', ...rollback }, undefined)
    : catalog.volumes;
  changes.replace({
    ...catalog,
    volumes,
    role: 'primary',
    lineage,
    handedOver: undefined,
    takenOver: undefined,
    // Nobody is waited for until somebody has what is here: as before the first follower.
    protection: undefined,
    holdsApply: undefined,
  });
  group.cuts.holdApplyAt(undefined);
  // Nobody else decides any more what of it counts.
  group.replies.confirmAll();
  clearContests(group, `group ${group.name} is primary here in a newer generation`);
  group.follow.remove();
  group.checksums.forgetSource('is primary here, and followers are compared with it');
  group.snapshots.space.begin();
  describeRollbacks(group);
  for (const volume of group.volumes.values()) {
    if (volume.state === 'unused' && volume.catalog.state === 'normal') volume.become('normal');
    // Who reads a snapshot goes on.
    if (volume.catalog.preserves) continue;
    const reason = `group ${group.name} is primary here now: connect again to write`;
    for (const session of volume.sessions) session.client.revoke(reason);
  }
}

/** Throws JnbdError: state_refuses; confirmation_needed where something would be lost. */
export function checkPromotion(group: Group, systemId: number, force: boolean): void {
  if (group.state !== 'normal') {
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} is ${group.state}: ${group.failureText}`,
    );
  }
  const obstacle = promotionObstacle(group, systemId);
  const isForcible = obstacle?.ends === 'by force';
  if (obstacle && !(isForcible && force)) {
    const advice = isForcible ? '; --force promotes it all the same' : '; try again';
    throw new JnbdError(
      isForcible ? 'confirmation_needed' : 'state_refuses',
      `group ${group.name} cannot be promoted: ${obstacle.text}${advice}`,
    );
  }
}

/**
 * Those who follow, and those below them, hold what they need already: but what one of them has beyond what is here
 * is of another history from now on, and acknowledges nothing of what is numbered next. `source`: whom it followed.
 */
export function expectMembers(
  { name: groupName, catalog, followers, watermarks }: Group,
  source: FollowState | undefined,
): void {
  const { newest } = watermarks;
  for (const { systemId, name, state, received, listens } of followers.list()) {
    if (received > newest && state !== 'behind')
      followers.register(systemId, name, newest, listens);
  }
  if (source) {
    const place = { url: source.url, groupName: source.sourceGroup };
    followers.expect(source.sourceSystemId, source.sourceName, newest, place);
  }
  const { takenOver } = catalog;
  if (takenOver) {
    const { systemId, name, fork, url, groupName } = takenOver;
    const place = url === null ? undefined : { url, groupName };
    followers.expect(systemId, name, Math.min(fork, newest), place);
  }
  const below = new Set(followers.members.below().map(({ systemId }) => systemId));
  for (const { systemId, name, received, url } of followers.members.list()) {
    if (below.has(systemId)) continue;
    const place = url === undefined ? undefined : { url, groupName };
    followers.expect(systemId, name, Math.min(received, newest), place);
  }
}
