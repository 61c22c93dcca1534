import { dirname } from 'node:path';
import type { Campaign } from './campaign.ts';
import { checkpointOnDevice } from './checkpoint-on-device.ts';
import type { SimulatedFile } from './simulated-file.ts';

/** The file below a path, for whoever wants to harm it while nobody uses it. */
function fileAt(campaign: Campaign, path: string): SimulatedFile | undefined {
  const node = campaign.simulation.machine.tree.find(path);
  return node === undefined || node.isDirectory ? undefined : node;
}

/** Flips one bit; returns what flips it back, or `undefined` where the device does not show it. */
function flip(file: SimulatedFile, position: number, bit: number): (() => void) | undefined {
  const before = new Uint8Array(1);
  const after = new Uint8Array(1);
  file.readDirect(before, 0, 1, position);
  file.flipBitAt(position, bit);
  file.readDirect(after, 0, 1, position);
  if (before[0] !== after[0]) return () => file.flipBitAt(position, bit);
  file.flipBitAt(position, bit);
  return undefined;
}

/** What recovery will start behind. */
function checkpointOf(campaign: Campaign, group: string): number {
  return checkpointOnDevice(campaign.simulation.machine, `/data/groups/${group}`) ?? 0;
}

/** A record that was durable, and that something says was durable, changes (SAFETY 3). */
export async function rotRecord(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const model = simulation.modelOf('alpha');
  const applied = checkpointOf(campaign, 'alpha');
  const evidence = simulation.tap.segments.evidence(model.groupId);
  const records = [...model.recordsAfter(applied)].filter(
    ({ number, file, changeNumber, isWhole }) =>
      number <= evidence && isWhole && simulation.tap.syncs.isDurable(file, changeNumber),
  );
  const record = records.length > 0 ? random.pick(records) : undefined;
  if (!record) {
    await campaign.restart();
    return;
  }
  const bytes = 28 + (record.payload?.length ?? 0);
  const flipBack = flip(record.file, record.position + random.int(bytes), random.int(8));
  if (!flipBack) {
    await campaign.restart();
    return;
  }
  simulation.counter.count('bit_rot');
  simulation.note(`bit of update ${record.number} flips, ${evidence} was marked durable`);
  simulation.excuses.damage.set('alpha', record.number);
  await campaign.restart();
  if (random.chance(0.3)) await campaign.rest();
  await campaign.end();
  flipBack();
  simulation.excuses.damage.delete('alpha');
  await campaign.restart();
}

/** One of the two copies of a segment's header changes: nobody notices. */
export async function rotHeader(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const model = simulation.modelOf('alpha');
  const records = [...model.recordsAfter(0)];
  const record = records.length > 0 ? random.pick(records) : undefined;
  const at = random.pick([0, 2048]) + random.int(96);
  const flipBack = record && flip(record.file, at, random.int(8));
  if (flipBack) simulation.counter.count('bit_rot');
  await campaign.restart();
  if (!flipBack) return;
  await campaign.end();
  flipBack();
  await campaign.restart();
}

/** The catalog, the checkpoint or the identity of an area changes: it is found, and nothing is lost. */
export async function rotSmallFile(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const directory = dirname(
    simulation.modelOf('alpha').record(simulation.modelOf('alpha').newest)?.path ?? '/none/x',
  );
  const path = random.pick([
    '/data/groups/alpha/catalog',
    '/data/groups/alpha/checkpoint',
    '/data/groups/alpha/checkpoint',
    '/data/groups/alpha/head',
    `${directory}/area`,
    '/data/jnbd.json',
  ]);
  const file = fileAt(campaign, path);
  const undo: (() => void)[] = [];
  if (file) {
    const isCheckpoint = path.endsWith('checkpoint') || path.endsWith('head');
    const slots = isCheckpoint ? random.pick([[0], [4096], [0, 4096]]) : [0];
    for (const slot of slots) {
      const at = slot + random.int(isCheckpoint ? 80 : file.sizeBytes);
      const flipBack = flip(file, at, random.int(8));
      if (flipBack) undo.push(flipBack);
    }
  }
  if (undo.length === 0) {
    await campaign.restart();
    return;
  }
  simulation.counter.count('bit_rot');
  simulation.excuses.add('start');
  simulation.excuses.damage.set('alpha', 'maybe');
  simulation.note(`a bit of ${path} flips`);
  const result = await simulation.start();
  if (result === 'serving') await campaign.end();
  for (const flipBack of undo) flipBack();
  simulation.excuses.delete('start');
  simulation.excuses.damage.delete('alpha');
  await campaign.restart();
}
