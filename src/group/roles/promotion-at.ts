import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import { type Catalog, lastingNumber, withoutSnapshotsBehind } from '../catalog/catalog.ts';
import { standingRollback } from '../catalog/rollback.ts';
import { AreaMarks } from '../../volume/area-marks.ts';
import { RegionSet } from '../../volume/region-set.ts';
import { readUpdates, type RecordSeen, replay } from '../../volume/replay.ts';
import { type Branch, saveBranch } from '../system/branches.ts';
import type { Group } from '../order/group.ts';
import { extendLineage, generationOf, lineageThrough, positionOf } from '../catalog/lineage.ts';
import { checkPromotion, expectMembers } from './promotion.ts';
import { segmentsBehind, whilePinned } from '../apply/segments-behind.ts';
import type { System } from '../system/system.ts';
import { keepBehind, keepNoMore } from '../order/take-over.ts';

const settleMilliseconds = 20;
const settleMillisecondsMax = 30_000;

/**
 * Makes a secondary primary as of an earlier update: what stands behind it becomes a branch. It must not be
 * in the volumes yet, which nothing is taken out of again. Nothing is received any more.
 *
 * Updates up to it are written to the volumes in their order, and the journal begins anew behind it. A crash
 * before that is planned leaves the secondary as it was, and at most the branch. Rejects with JnbdError:
 * state_refuses, confirmation_needed, branch_no_room, write_failed; then nothing has changed.
 */
export async function promoteAt(
  system: System,
  group: Group,
  number: number,
  force: boolean,
): Promise<{ readonly group: Group; readonly branch: Branch | undefined }> {
  checkPromotion(group, system.systemId, force);
  checkNumber(group, number);
  const source = group.follow.state;
  group.driver.hold(true);
  try {
    await settle(group, number);
    const { catalog, watermarks, incarnation, clock, followers } = group;
    const { applied } = watermarks;
    keepBehind(group, applied);
    const files = system.filesOf(group);
    const branch = await saveBranch({ disk: system.disk, clock }, group, files, number);
    await group.views.history.end(`group ${group.name} was promoted as of update ${number}`);
    group.checksums.contentsShow(number);
    await applyThrough(system.disk, group, number);
    const kept = lineageThrough(catalog.lineage, number);
    await followers.leaveBehindWith(new RegionSet(), positionOf(kept, number), number);
    const lineage = extendLineage(kept, {
      generation: generationOf(catalog.lineage) + 1,
      system: system.systemId,
      incarnation,
      firstNumber: number + 1,
    });
    const promoted = await system.restartGroup(group, {
      number,
      // Settings may have changed meanwhile.
      catalog: {
        ...group.catalog,
        ...withoutSnapshotsBehind(group.catalog, number),
        // What is behind it, and was no lasting change, is not there any more.
        number: Math.min(group.catalog.number, number),
        role: 'primary',
        lineage,
        handedOver: undefined,
        protection: undefined,
        markers: group.cuts.records.through(number, watermarks.durable),
        holdsApply: undefined,
      },
      follow: null,
      made: [],
    });
    expectMembers(promoted, source);
    return { group: promoted, branch };
  } catch (error) {
    if (group.state === 'normal') {
      group.driver.hold(false);
      keepNoMore(group);
    }
    throw error;
  }
}

/** Throws state_refuses. */
export function checkNumber(
  { name, role, catalog, follow, watermarks }: Group,
  number: number,
): void {
  const refuse = (why: string): never => {
    throw new JnbdError('state_refuses', `group ${name} cannot be promoted at ${number}: ${why}`);
  };
  const { applied, newest } = watermarks;
  if (role !== 'secondary') refuse(`it is ${role} here`);
  if (follow.state?.resync) {
    refuse(
      `a resync is under way, and its volumes are of no one instant; what it was before is had by: jnbd promote ${name}`,
    );
  }
  const rollback = standingRollback(catalog.volumes);
  if (rollback) {
    refuse(
      `its volumes are on their way back to update ${rollback.to}, and of no one instant there; that goes on here with: jnbd promote ${name}`,
    );
  }
  const shows = follow.state?.shows ?? 0;
  const lasting = lastingNumber(catalog);
  const lowest = Math.max(applied, shows, lasting);
  const possible = lowest > newest ? 'no update is possible now' : rangeText(name, lowest, newest);
  if (number > newest) refuse(`its newest update here is ${newest}; ${possible}`);
  if (number < applied) {
    refuse(
      `updates up to ${applied} are in its volumes, and what they replaced was not kept, so that they are not undone; ${possible}`,
    );
  }
  if (number < shows) refuse(`its volumes show updates up to ${shows}; ${possible}`);
  if (number < lasting) refuse(`${changeText(catalog, lasting)}; ${possible}`);
}

/** Why that change of the catalog cannot be left out: what there was before it is not kept. */
function changeText({ number, handedOver }: Catalog, lasting: number): string {
  if (handedOver && lasting === number) {
    return `update ${number} hands the group over to system ${handedOver.name}, which is not undone`;
  }
  return `update ${lasting} made, changed or deleted a volume, which is not undone`;
}

function rangeText(name: string, from: number, to: number): string {
  const range = from === to ? `possible is ${from} alone` : `possible are ${from} to ${to}`;
  return `${range}, and most is undone by: jnbd promote ${name} --at ${from}`;
}

/** The table on its way to the volumes is there, and nothing goes on; what came is durable. */
async function settle(group: Group, number: number): Promise<void> {
  const { clock, watermarks, journal, driver } = group;
  const deadline = clock.monotonicMilliseconds() + settleMillisecondsMax;
  const isSettled = (): boolean =>
    watermarks.durable === watermarks.newest &&
    group.changes.settledThrough(watermarks.durable) >= number;
  while (driver.state !== 'idle' || !isSettled()) {
    if (group.state !== 'normal' || clock.monotonicMilliseconds() > deadline) {
      const text = `what group ${group.name} has under way does not end: ${group.failureText}`;
      throw new JnbdError('state_refuses', text);
    }
    if (watermarks.durable < watermarks.newest) journal.requestDurable();
    await new Promise<void>((resolve) => clock.after(settleMilliseconds, resolve));
  }
  checkNumber(group, number);
}

/** In their order, and onto the device. */
async function applyThrough(disk: Disk, group: Group, number: number): Promise<void> {
  const { chain, watermarks, clock, name } = group;
  const volumes = new Map([...group.volumes.values()].map((volume) => [volume.catalog.id, volume]));
  for (const { state, failure, catalog } of volumes.values()) {
    if (state !== 'abnormal') continue;
    throw new JnbdError(
      'volume_abnormal',
      `volume ${name}/${catalog.name} is abnormal: ${failure}`,
    );
  }
  const { applied } = watermarks;
  const marks = new AreaMarks(() => undefined);
  const seen: RecordSeen = (header, payload) => {
    const { volume: id, offset, length } = header;
    const volume = volumes.get(id);
    replay(header, payload, volume?.file);
    const dataBytes = volume?.catalog.preserves?.dataBytes;
    if (volume?.file && dataBytes !== undefined)
      marks.mark(id, volume.file, dataBytes, offset, length);
  };
  try {
    await whilePinned(segmentsBehind(chain, applied, number), async (scanned) => {
      await readUpdates({ disk, clock }, scanned, applied, number, seen);
      marks.finish();
      for (const { file } of volumes.values()) file?.dataSyncSync();
    });
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot apply updates of group ${name}`) ?? error;
  }
}
