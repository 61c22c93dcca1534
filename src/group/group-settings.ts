import type { AreaLayout } from '../journal/segment-chain.ts';
import { JnbdError } from '../platform/errors.ts';
import type { OnFull } from './catalog.ts';
import type { Group } from './group.ts';

/** Settings that may change while a group serves. */
export interface GroupChanges {
  readonly onFull?: OnFull | undefined;
  readonly areaLayout?: AreaLayout | undefined;
  readonly syncIntervalMilliseconds?: number | undefined;
}

const syncIntervalMillisecondsMax = 60_000;

export function checkSyncInterval(milliseconds: number | undefined): void {
  if (milliseconds === undefined) return;
  if (milliseconds >= 1 && milliseconds <= syncIntervalMillisecondsMax) return;
  throw new JnbdError(
    'argument_invalid',
    `--sync-interval ${milliseconds}ms is not valid; from 1ms to ${syncIntervalMillisecondsMax / 1000}s`,
  );
}

/**
 * Changes settings: in the catalog first, then in force; a crash in between leaves the new ones. False:
 * they were so before.
 */
export function configureGroup(group: Group, changes: GroupChanges): boolean {
  checkSyncInterval(changes.syncIntervalMilliseconds);
  if (group.state !== 'normal') {
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} is ${group.state}: ${group.failureText}`,
    );
  }
  const { catalog } = group;
  const onFull = changes.onFull ?? catalog.onFull;
  const areaLayout = changes.areaLayout ?? catalog.areaLayout;
  const syncIntervalMilliseconds =
    changes.syncIntervalMilliseconds ?? catalog.syncIntervalMilliseconds;
  if (
    onFull === catalog.onFull &&
    areaLayout === catalog.areaLayout &&
    syncIntervalMilliseconds === catalog.syncIntervalMilliseconds
  ) {
    return false;
  }
  group.changes.replace({ ...catalog, onFull, areaLayout, syncIntervalMilliseconds });
  group.chain.setLayout(areaLayout);
  group.journal.setSyncInterval(syncIntervalMilliseconds);
  return true;
}
