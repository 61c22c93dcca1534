import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { build } from '../support/built-program.ts';
import { sleep } from '../support/children.ts';
import type { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { blockBytes, BlockLedger } from './block-ledger.ts';
import { BlockLoad } from './block-load.ts';
import { groupOf, listenUrl, start, untilProtected, volumePath, wholeVolume } from './sync-pair.ts';

const blocks = 512;
const seed = Number(process.env['JNBD_SYNC_SEED'] ?? Date.now() % 2 ** 31);

let directory: TemporaryDirectory;
let daemons: Daemon[] = [];

beforeEach(() => {
  directory = temporaryDirectory('sync-relay');
});

afterEach(async () => {
  for (const daemon of daemons) await daemon.kill();
  daemons = [];
  directory.remove();
});

async function system(name: string): Promise<Daemon> {
  const daemon = await start(directory.path, name);
  daemons.push(daemon);
  return daemon;
}

describe('an original whose hosts wait for a relay near by, and a secondary far away', () => {
  it.each(['with a copy', 'of the journal alone'])(
    `is lost: the relay, %s, drains, and the secondary serves everything acknowledged (seed ${seed})`,
    async (kind) => {
      await build();
      const [original, relay, far] = [
        await system('original'),
        await system('relay'),
        await system('far'),
      ];
      await original.client('group', 'create', 'g', '--journal-size', '64MiB');
      await original.client('group', 'configure', 'g', '--on-sync-loss', 'stall');
      const size = String(blocks * blockBytes);
      await original.client('volume', 'create', volumePath, '--size', size);
      const options = kind === 'with a copy' ? [] : ['--journal-only'];
      await relay.client('follow', 'g', '--from', listenUrl(original), '--sync', ...options);
      await untilProtected(original);
      await far.client('follow', 'g', '--from', listenUrl(relay));
      await far.client('wait', 'g', '--for', 'synced', '--timeout', '60s');

      const ledger = new BlockLedger(blocks);
      const random = new FuzzRandom(seed);
      const load = await BlockLoad.begin(ledger, random, original.uri(volumePath), 8);
      await sleep(500);
      // Far away: it is behind when the original is lost.
      await far.client('suspend', 'g');
      await sleep(random.below(1000));
      await original.kill();
      await load.end();
      expect(load.findings).toEqual([]);
      expect(ledger.acknowledged).toBeGreaterThan(20);

      const { durable } = (await groupOf(relay)).watermarks;
      expect((await groupOf(far)).watermarks.durable).toBeLessThan(durable);
      await far.client('resume', 'g');
      await far.client('wait', 'g', '--for', `applied=${durable}`, '--timeout', '60s');
      await far.client('promote', 'g');
      expect(ledger.missing(await wholeVolume(far, blocks))).toEqual([]);
      const host = await NbdClient.connectUri(far.uri(volumePath));
      await host.write(0, Buffer.alloc(blockBytes, 1));
      await host.flush();
      await host.close();
    },
    120_000,
  );
});
