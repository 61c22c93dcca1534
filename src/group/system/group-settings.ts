import type { AreaLayout } from '../../journal/segment-chain.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Catalog, OnFull, ReleaseRule, SecondaryExports } from '../catalog/catalog.ts';
import type { HistoryLimit } from '../../history/bases.ts';
import { MiB } from '../../platform/limits.ts';
import type { Group } from '../order/group.ts';
import { synchronousDefaults, type SynchronousSettings } from '../catalog/protection.ts';
import { disconnectHidden } from './secondary-exports.ts';

/** Settings that may change while a group serves. */
export interface GroupChanges {
  readonly onFull?: OnFull | undefined;
  readonly areaLayout?: AreaLayout | undefined;
  readonly syncIntervalMilliseconds?: number | undefined;
  readonly release?: ReleaseRule | undefined;
  readonly copyBytesPerSecond?: number | 'unlimited' | undefined;
  readonly branchBudgetBytes?: number | undefined;
  readonly secondaryExports?: SecondaryExports | undefined;
  readonly deleteDelayMilliseconds?: number | undefined;
  readonly history?: HistoryLimit | 'off' | undefined;
  readonly checksums?: boolean | undefined;
  /** Of these, what is to change. */
  readonly synchronous?: Partial<SynchronousSettings>;
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

const synchronousTimeoutMilliseconds = { min: 200, max: 3_600_000 } as const;

function checkSynchronous({ wait, timeoutMilliseconds: timeout }: SynchronousSettings): void {
  if (wait !== 'all' && !(Number.isInteger(wait) && wait >= 1)) {
    throw new JnbdError('argument_invalid', `--sync-wait ${wait} is not valid; all, or a number`);
  }
  const { min, max } = synchronousTimeoutMilliseconds;
  if (timeout >= min && timeout <= max) return;
  const text = `--sync-timeout ${timeout}ms is not valid; from ${min}ms to ${max / 1000}s`;
  throw new JnbdError('argument_invalid', text);
}

/**
 * Changes settings: in the catalog first, then in force; a crash in between leaves the new ones. False:
 * they were so before.
 */
export function configureGroup(group: Group, changes: GroupChanges): boolean {
  checkSyncInterval(changes.syncIntervalMilliseconds);
  checkSynchronous({ ...synchronousDefaults, ...changes.synchronous });
  if (group.state !== 'normal') {
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} is ${group.state}: ${group.failureText}`,
    );
  }
  const { catalog } = group;
  const changed = changedSettings(catalog, changes);
  checkHistory(catalog, changes.history);
  const keys = Object.keys({ ...catalog, ...changed }) as (keyof Catalog)[];
  if (keys.every((key) => changed[key] === catalog[key])) return false;
  group.changes.replace(changed);
  group.chain.setLayout(changed.areaLayout);
  group.journal.setSyncInterval(changed.syncIntervalMilliseconds);
  group.followers.releaseRuleChanged();
  group.views.history.settingChanged();
  group.checksums.settingChanged();
  disconnectHidden(group);
  group.changed();
  return true;
}

function changedSettings(catalog: Catalog, changes: GroupChanges): Catalog {
  const { copyBytesPerSecond: rate, release, branchBudgetBytes, secondaryExports } = changes;
  const { deleteDelayMilliseconds, checksums } = changes;
  const { checksums: hadChecksums = true } = catalog;
  const { copyBytesPerSecond: _, ...others } = catalog;
  const synchronous = { ...(catalog.synchronous ?? synchronousDefaults), ...changes.synchronous };
  const known = catalog.synchronous ?? synchronousDefaults;
  const isSame =
    synchronous.wait === known.wait &&
    synchronous.timeoutMilliseconds === known.timeoutMilliseconds &&
    synchronous.onLoss === known.onLoss;
  const unlimited = rate === 'unlimited' ? others : catalog;
  return {
    ...withHistory(unlimited, changes.history),
    onFull: changes.onFull ?? catalog.onFull,
    areaLayout: changes.areaLayout ?? catalog.areaLayout,
    syncIntervalMilliseconds: changes.syncIntervalMilliseconds ?? catalog.syncIntervalMilliseconds,
    ...(release === undefined ? {} : { release }),
    ...(branchBudgetBytes === undefined ? {} : { branchBudgetBytes }),
    ...(secondaryExports === undefined ? {} : { secondaryExports }),
    ...(deleteDelayMilliseconds === undefined ? {} : { deleteDelayMilliseconds }),
    ...(checksums === undefined || checksums === hadChecksums ? {} : { checksums }),
    ...(isSame ? {} : { synchronous }),
    ...(typeof rate === 'number' ? { copyBytesPerSecond: rate } : {}),
  };
}

const historyLimits = { milliseconds: 60_000, bytes: 64 * MiB } as const;

function checkHistory({ journalOnly }: Catalog, limit: GroupChanges['history']): void {
  if (limit === undefined || limit === 'off') return;
  if (journalOnly === true)
    throw new JnbdError('state_refuses', 'a group that keeps the journal alone has no history');
  if (limit.kind === 'time' && limit.milliseconds < historyLimits.milliseconds)
    throw new JnbdError('argument_invalid', '--history is at least 1m');
  if (limit.kind === 'size' && limit.bytes < historyLimits.bytes)
    throw new JnbdError('argument_invalid', '--history is at least 64MiB');
}

function withHistory(catalog: Catalog, limit: GroupChanges['history']): Catalog {
  const { history: known, ...others } = catalog;
  if (limit === undefined || isSameLimit(limit, known)) return catalog;
  return limit === 'off' ? others : { ...others, history: limit };
}

function isSameLimit(limit: HistoryLimit | 'off', known: HistoryLimit | undefined): boolean {
  if (limit === 'off' || known === undefined) return limit === 'off' && known === undefined;
  if (limit.kind === 'time')
    return known.kind === 'time' && known.milliseconds === limit.milliseconds;
  return known.kind === 'size' && known.bytes === limit.bytes;
}
