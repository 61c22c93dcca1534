import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../../src/control/schema-status.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { Daemon } from '../../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../support/temporary.ts';
import { guestImage, guestKernel, missingForGuest } from './guest-image.ts';
import { VirtualMachine } from './virtual-machine.ts';

const programs = ['nbd-client', 'mkfs.ext4', 'e2fsck'];
const missing = missingForGuest(programs);
if (missing.length > 0) console.warn(`failover test skipped: missing ${missing.join(', ')}`);

const filesBeforeKill = 25;

async function groupOf(daemon: Daemon): Promise<GroupStatus> {
  const { body } = await daemon.get('/status');
  return must((JSON.parse(body) as Status).groups[0], 'there is a group');
}

describe.skipIf(missing.length > 0)('an ext4 of the Linux kernel', () => {
  let directory: TemporaryDirectory | undefined;
  let machine: VirtualMachine | undefined;
  const daemons: Daemon[] = [];

  afterEach(async () => {
    await machine?.end();
    for (const daemon of daemons) await daemon.kill();
    directory?.remove();
  });

  it('comes back whole from the secondary when its primary is killed', async () => {
    const { path } = (directory = temporaryDirectory('failover'));
    const start = async (name: string): Promise<Daemon> => {
      const dataDirectory = join(path, name);
      const daemon = await Daemon.start({ dataDirectory, arguments: ['--name', name] });
      daemons.push(daemon);
      return daemon;
    };
    const [first, second] = [await start('first'), await start('second')];
    await first.client('group', 'create', 'g', '--journal-size', '256MiB');
    await first.client('volume', 'create', 'g/v', '--size', String(256 * MiB));
    await second.client('follow', 'g', '--from', `http://127.0.0.1:${first.listenPort}`);

    const image = join(path, 'initramfs');
    const settings = `FIRST=${first.port}\nSECOND=${second.port}\n`;
    const plan = { script: 'failover-guest.sh', settings, programs };
    writeFileSync(image, await guestImage({ ...plan, fileSystems: ['ext4'] }));
    const guest = new VirtualMachine({ kernel: guestKernel, initramfs: image, memoryMiB: 384 });
    machine = guest;
    await guest.expect('up', 60);
    await guest.expect('mounted', 60);
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
    guest.tell('go');

    /** All of so many files is in the updates up to there. */
    const reached: { files: number; position: number }[] = [];
    for (let files = 0; files < filesBeforeKill; ) {
      files = Number(await guest.expect('fsynced', 30));
      reached.push({ files, position: (await groupOf(first)).watermarks.newest });
    }
    await first.kill();
    const fsynced = Number(await guest.expect('stopped', 60));
    expect(fsynced).toBeGreaterThanOrEqual(filesBeforeKill);

    const promoted = (await second.client('promote', 'g')) as { position: number };
    const kept = reached.filter(({ position }) => position <= promoted.position).at(-1)?.files ?? 0;
    expect(kept, 'it was nearly level').toBeGreaterThan(filesBeforeKill / 2);
    guest.tell(String(kept));
    await guest.expect('done', 60);
    expect(await groupOf(second)).toMatchObject({
      role: 'primary',
      generation: 2,
      state: 'normal',
    });
  }, 120_000);
});
