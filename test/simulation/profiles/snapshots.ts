import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import { changeSomething } from '../changes-of-volumes.ts';
import { changeSnapshots, readSnapshots } from '../changes-of-snapshots.ts';
import { SnapshotWork } from '../snapshot-work.ts';
import type { Workload } from '../work-host.ts';
import { KnownOverlays } from '../changes-of-overlays.ts';
import { KnownViews } from '../changes-of-views.ts';
import { finishRollbacks, rollBack } from '../changes-of-rollbacks.ts';
import type { Profile } from './profile.ts';

/** What its campaigns have to bring about. */
export const snapshotKinds: readonly string[] = [
  'snapshot made',
  'snapshot made meanwhile',
  'snapshot deleted',
  'snapshot kept for a clone',
  'snapshot read',
  'snapshot read meanwhile',
  'history begun meanwhile',
  'view of the past',
  'view of what was newest',
  'view read',
  'view deleted',
  'clone made',
  'clone written',
  'clone checked',
  'clone deleted',
  'clone there after a crash',
  'writable view made',
  'writable view written',
  'writable view checked',
  'writable view deleted',
  'writable view ended',
  'writable view there after a crash',
  'rollback asked for',
  'rollback done',
];

/** All of every one is copied, read and compared again and again; WRITE_ZEROES of the largest goes on in parts. */
const volumeSizes = [64 * KiB, 256 * KiB, 256 * KiB + 512, 1 * MiB];

/** Snapshots and views of the past come and go and are read while hosts write, and the daemon ends in every way. */
export const snapshots: Profile = {
  bytesMax: 6 * MiB,
  steps: 8,
  cacheMissChance: 0.15,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups(volumeSizes));
    await KnownViews.of(campaign).configure(campaign);
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    if (random.chance(0.3)) {
      simulation.machine.faults.add({
        kind: 'death',
        operation: random.pick(['write', 'write', 'sync', 'entry', 'read'] as const),
        nth: random.between(1, random.pick([2, 10, 80])),
      });
    }
    const views = KnownViews.of(campaign);
    const isReconfigured = random.chance(0.3);
    if (isReconfigured) await views.reconfigure(campaign, 'off');
    const overlays = KnownOverlays.of(campaign);
    await changeSnapshots(campaign);
    await views.change(campaign);
    await overlays.change();
    const work = new SnapshotWork(campaign);
    work.begin();
    await campaign.traffic(workload(campaign));
    await overlays.work();
    await work.end();
    await readSnapshots(campaign);
    await views.read(campaign);
    if (random.chance(0.5)) await changeSnapshots(campaign);
    if (random.chance(0.5)) await views.change(campaign);
    await campaign.traffic(workload(campaign));
    if (random.chance(0.2)) await changeSomething(campaign);
    if (random.chance(0.4)) await campaign.rest();
    await overlays.work();
    if (random.chance(0.3)) await overlays.check();
    await readSnapshots(campaign);
    if (random.chance(0.2)) simulation.machine.dropCache();
    if (random.chance(0.4)) await rollBack(campaign);
    // It begins behind what is applied, in this life or in the next one.
    if (isReconfigured) await views.reconfigure(campaign, '2h');
    overlays.beforeEnd();
    await campaign.end();
    await campaign.restart();
    await overlays.afterStart();
    const { daemon } = simulation;
    await finishRollbacks(campaign);
    if (simulation.daemon !== daemon) {
      overlays.beforeEnd(daemon);
      await overlays.afterStart();
    }
    if (isReconfigured || random.chance(0.3)) await views.begin(campaign);
    await readSnapshots(campaign);
    await views.read(campaign);
  },
};

/** A TRIM may leave what it likes, which nobody could tell from the record. */
function workload(campaign: Campaign): Workload {
  const any = campaign.anyWorkload();
  return { ...any, mix: { ...any.mix, trim: 0 } };
}
