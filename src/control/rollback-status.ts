import { shownVolumes } from '../group/apply/volume.ts';
import type { Group } from '../group/order/group.ts';
import type { Rollbacks } from '../group/system/rollbacks.ts';
import type { GroupStatus } from './schema-status.ts';

export function rollbackStatusOf(
  group: Group,
  rollbacks: Pick<Rollbacks, 'progress'>,
): GroupStatus['rollback'] {
  const volumes = shownVolumes(group.volumes).filter(
    ({ rollsBackTo }) => rollsBackTo !== undefined,
  );
  const [first] = volumes;
  if (first?.rollsBackTo === undefined) return null;
  const running = rollbacks.progress(group);
  const state = running && running.state !== 'ended' ? running.state : 'stopped';
  return {
    to: first.rollsBackTo,
    volumes: volumes.map(({ catalog }) => catalog.name),
    state,
    waitsFor: running?.waitsFor ?? '',
    doneBytes: running?.doneBytes ?? 0,
    totalBytes: running?.totalBytes ?? 0,
  };
}
