import { type ExportClient, readPending } from '../../src/group/apply/export.ts';
import { shownVolumes } from '../../src/group/apply/volume.ts';
import type { Group } from '../../src/group/order/group.ts';
import { must } from '../../src/platform/assert.ts';
import { KiB } from '../../src/platform/limits.ts';
import type { Campaign } from './campaign.ts';

const snapshotsMax = 4;
const pieceBytes = 96 * KiB;

/** Makes a snapshot of some group, or deletes one. */
export async function changeSnapshots(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const group = random.pick([...simulation.groups.values()]);
  if (!group || group.state !== 'normal') return;
  const { living } = group.snapshots;
  if (living.length > 0 && random.chance(0.3 + (living.length >= snapshotsMax ? 1 : 0))) {
    const { name, number } = random.pick(living);
    const isUnder = group.snapshots.clones.of(number).length > 0;
    const refusal = isUnder ? 'volume_in_use' : undefined;
    await simulation.verb('snapshot-delete', { snapshot: `${group.name}@${name}` }, refusal);
    simulation.counter.count(isUnder ? 'snapshot kept for a clone' : 'snapshot deleted');
    return;
  }
  const isPossible = shownVolumes(group.volumes).some(
    ({ catalog, state }) =>
      state === 'normal' && catalog.state === 'normal' && !catalog.journalOnly,
  );
  const snapshot = `${group.name}@s${simulation.clock.events}`;
  await simulation.verb('snapshot-create', { snapshot }, isPossible ? undefined : 'state_refuses');
  simulation.counter.count('snapshot made');
}

/** Every snapshot is what it was made of. */
export async function readSnapshots(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  for (const group of simulation.groups.values()) {
    if (group.state !== 'normal') continue;
    for (const { number, name } of group.snapshots.living) {
      if (!random.chance(0.6) || number > group.catalog.number) continue;
      for (const { catalog } of shownVolumes(group.volumes)) {
        if (!simulation.isServing || group.state !== 'normal') return;
        await readSnapshot(campaign, group, number, catalog.id, `${catalog.name}@${name}`);
      }
    }
  }
}

async function readSnapshot(
  campaign: Campaign,
  group: Group,
  number: number,
  volume: number,
  name: string,
): Promise<void> {
  const model = campaign.simulation.tap.models.get(group.catalog.groupId);
  const expected = model?.current.snapshots.contents(number, volume);
  if (expected) await readExport(campaign, group, name, expected);
  if (expected) campaign.simulation.counter.count('snapshot read');
}

/** What does not change must be read as it was. */
export async function readExport(
  { simulation }: Campaign,
  group: Group,
  name: string,
  expected: Buffer,
): Promise<void> {
  const { exports } = simulation.daemon.composed;
  const found = must(exports.find(`${group.name}/${name}`), `${name} is exported`);
  let ended: number | undefined;
  let isRevoked = false;
  const client: ExportClient = {
    peer: '127.0.0.1:9',
    admitted: () => undefined,
    durableReached: () => undefined,
    durableFailed: () => undefined,
    readCompleted: (_token, failure) => {
      ended = failure;
    },
    revoke: () => {
      isRevoked = true;
    },
  };
  const session = found.open(client);
  if (session.sizeBytes !== expected.length)
    simulation.report(`${name} has ${session.sizeBytes} bytes, not ${expected.length}`);
  const bytes = Buffer.alloc(pieceBytes);
  for (let at = 0; at < expected.length; at += pieceBytes) {
    const length = Math.min(pieceBytes, expected.length - at);
    ended = undefined;
    const result = session.read(at, length, bytes, 0, 1);
    const outcome =
      result === readPending ? await simulation.until(() => ended !== undefined) : 'done';
    if (outcome === 'dead' || simulation.daemon.isDead || isRevoked) return;
    const failure = result === readPending ? ended : result;
    if (outcome === 'late' || failure !== 0) {
      if (simulation.excuses.has('disk')) break;
      simulation.fail(`reading ${name} at ${at}: ${outcome}, ${failure}: ${session.errorText}`);
    }
    if (bytes.subarray(0, length).equals(expected.subarray(at, at + length))) continue;
    simulation.fail(`group ${group.name}: ${name} is not what it was made of, from ${at} on`);
  }
  session.close();
}
