import { JnbdError } from '../../platform/errors.ts';
import { shownVolumes, type Volume } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';
import { unsettledText } from '../views/view.ts';
import { differingBytes } from './rollback-staging.ts';
import type { RollbackTarget } from './rollback-target.ts';

/** What a rollback would do. */
export interface RollbackEstimate {
  readonly to: number;
  readonly volumes: readonly Volume[];
  /** Names of volumes that stay as they are: they were not there then, or store nothing. */
  readonly newer: readonly string[];
  /** Names of volumes that were there then and were deleted since: they are not made again. */
  readonly deleted: readonly string[];
  /** So much differs at most: it was written since, if perhaps with what stood there. */
  readonly bytes: number;
  /** Of that update, in Unix milliseconds; null: the journal tells. */
  readonly atMilliseconds: number | null;
}

/** Throws JnbdError state_refuses. */
export function checkRollsBack(group: Group): void {
  const { state, role, failureText, catalog } = group;
  if (state !== 'normal') throw refusal(group, `it is ${state}: ${failureText}`);
  if (role === 'diverged') throw refusal(group, failureText);
  if (catalog.journalOnly === true) throw refusal(group, 'it keeps the journal alone here');
}

/** Throws JnbdError state_refuses, volume_abnormal. */
export function estimateRollback(
  group: Group,
  wanted: Volume | 'all',
  target: RollbackTarget,
): RollbackEstimate {
  const { number, missing, atMilliseconds } = target;
  const all = shownVolumes(group.volumes);
  const candidates = wanted === 'all' ? all : all.filter((volume) => volume === wanted);
  const [unsettled] = target.unsettled.filter(({ id }) =>
    candidates.some(({ catalog }) => catalog.id === id),
  );
  if (unsettled) throw refusal(group, unsettledText(number, unsettled));
  const volumes = candidates.filter(({ catalog }) => target.volumes.has(catalog.id));
  if (volumes.length === 0) {
    throw refusal(
      group,
      wanted === 'all'
        ? `none of its volumes was there at update ${number}, or stores anything`
        : `volume ${wanted.catalog.name} was not there at update ${number}, or stores nothing`,
    );
  }
  for (const { state, failure, catalog } of volumes) {
    if (state === 'normal') continue;
    const text = `volume ${group.name}/${catalog.name} is ${state}: ${failure}`;
    throw new JnbdError('volume_abnormal', text);
  }
  checkComplete(group, volumes);
  const names = new Set(target.volumes.keys());
  const newer = candidates.filter(({ catalog }) => !names.has(catalog.id));
  return {
    to: number,
    volumes,
    newer: newer.map(({ catalog }) => catalog.name),
    deleted: wanted === 'all' ? missing : [],
    bytes: volumes.reduce((sum, { catalog }) => {
      const past = target.volumes.get(catalog.id);
      return sum + (past ? differingBytes(past, catalog.sizeBytes) : 0);
    }, 0),
    atMilliseconds,
  };
}

/** Throws JnbdError state_refuses: of volumes that are on their way back none stays halfway. */
export function checkComplete(group: Group, volumes: readonly Volume[]): void {
  const left = shownVolumes(group.volumes).filter(
    (volume) => volume.catalog.rollback !== undefined && !volumes.includes(volume),
  );
  const [first] = left;
  if (!first) return;
  const names = left.map(({ catalog }) => catalog.name).join(', ');
  throw new JnbdError(
    'state_refuses',
    `group ${group.name} cannot be rolled back so: ${names} would stay halfway to update ${first.rollsBackTo}; roll back the whole group, to an update at which all of these were there`,
  );
}

function refusal({ name }: Group, why: string): JnbdError {
  return new JnbdError('state_refuses', `group ${name} cannot be rolled back: ${why}`);
}
