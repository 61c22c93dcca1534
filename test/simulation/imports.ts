import { KiB, MiB } from '../../src/platform/limits.ts';
import type { Campaign } from './campaign.ts';

/** A file with holes. */
function writeSource({ simulation, random }: Campaign, contents: Buffer): void {
  const disk = simulation.machine.attach();
  const file = disk.openSync('/source', 'open-or-create', 'import');
  file.truncateSync(0);
  file.truncateSync(contents.length);
  for (let at = 0; at < contents.length; at += 32 * KiB) {
    if (random.chance(0.3)) continue;
    const length = Math.min(32 * KiB, contents.length - at);
    random.fill(contents, at, length);
    file.writeSync(contents, at, length, at);
  }
  disk.kill();
}

/** Makes the file that an import is to read, and lets the tap know what records it will be. */
export function prepareSource(campaign: Campaign): Buffer {
  const { simulation, random } = campaign;
  const { machine } = simulation;
  const { capacityBytes } = machine;
  machine.capacityBytes = Number.POSITIVE_INFINITY;
  const contents = Buffer.alloc(random.pick([64 * KiB, 300 * KiB + 512, 1 * MiB]));
  machine.faults.without(() => writeSource(campaign, contents));
  machine.capacityBytes = capacityBytes;
  simulation.tap.ledger.imports.add(contents);
  return contents;
}

/** Creates a volume from a file; now and then whoever asked for it goes away meanwhile. */
export async function importVolume(campaign: Campaign, volume: string): Promise<void> {
  const { simulation, random } = campaign;
  const contents = prepareSource(campaign);
  const isAborted = random.chance(0.2);
  await simulation.verb(
    'volume-create',
    { volume, from: '/source' },
    isAborted ? 'state_refuses' : undefined,
    isAborted ? new AbortController() : undefined,
  );
  simulation.tap.ledger.imports.delete(contents);
}
