import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../../src/control/schema-status.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { until } from '../../support/children.ts';
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

function listenUrl({ listenPort }: Daemon): string {
  return `http://127.0.0.1:${listenPort}`;
}

describe.skipIf(missing.length > 0)('an ext4 of the Linux kernel', () => {
  let directory: TemporaryDirectory;
  let machine: VirtualMachine | undefined;
  const daemons: Daemon[] = [];

  beforeEach(() => {
    directory = temporaryDirectory('failover');
  });

  afterEach(async () => {
    await machine?.end();
    for (const daemon of daemons.splice(0)) await daemon.kill();
    directory.remove();
  });

  async function start(name: string): Promise<Daemon> {
    const dataDirectory = join(directory.path, name);
    const daemon = await Daemon.start({ dataDirectory, arguments: ['--name', name] });
    daemons.push(daemon);
    return daemon;
  }

  async function startPrimary(): Promise<Daemon> {
    const primary = await start('first');
    await primary.client('group', 'create', 'g', '--journal-size', '256MiB');
    await primary.client('volume', 'create', 'g/v', '--size', String(256 * MiB));
    return primary;
  }

  /** A guest that has mounted what `first` serves, and writes to it as soon as it is told to go. */
  async function guestOn(first: Daemon, second: Daemon): Promise<VirtualMachine> {
    const image = join(directory.path, 'initramfs');
    const settings = `FIRST=${first.port}\nSECOND=${second.port}\n`;
    const plan = { script: 'failover-guest.sh', settings, programs };
    writeFileSync(image, await guestImage({ ...plan, fileSystems: ['ext4'] }));
    const guest = new VirtualMachine({ kernel: guestKernel, initramfs: image, memoryMiB: 384 });
    machine = guest;
    await guest.expect('up', 60);
    await guest.expect('mounted', 60);
    return guest;
  }

  /** Lets the guest write on until so many of its files are durable, as it was told. */
  async function untilFsynced(guest: VirtualMachine, files: number): Promise<void> {
    while (Number(await guest.expect('fsynced', 30)) < files);
  }

  async function isServedByNewPrimary(guest: VirtualMachine, files: number, second: Daemon) {
    guest.tell(String(files));
    await guest.expect('done', 60);
    expect(await groupOf(second)).toMatchObject({
      role: 'primary',
      generation: 2,
      state: 'normal',
    });
  }

  it('comes back whole from the secondary when its primary is killed', async () => {
    const [first, second] = [await startPrimary(), await start('second')];
    await second.client('follow', 'g', '--from', listenUrl(first));
    const guest = await guestOn(first, second);
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
    await isServedByNewPrimary(guest, kept, second);
  }, 240_000);

  it('loses no file that was fsynced with a synchronous relay, which has no volume, and a secondary far away', async () => {
    const [first, relay, second] = [
      await startPrimary(),
      await start('relay'),
      await start('second'),
    ];
    await first.client('group', 'configure', 'g', '--on-sync-loss', 'stall');
    await relay.client('follow', 'g', '--from', listenUrl(first), '--sync', '--journal-only');
    await second.client('follow', 'g', '--from', listenUrl(relay));
    await until(
      () => 'hosts are not protected',
      30,
      async () => (await groupOf(first)).synchronous.state === 'protected',
    );
    const guest = await guestOn(first, second);
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
    guest.tell('go');
    await untilFsynced(guest, filesBeforeKill / 5);
    // Far away: it is behind when the original is lost.
    await second.client('suspend', 'g');
    await untilFsynced(guest, filesBeforeKill);
    await first.kill();
    const fsynced = Number(await guest.expect('stopped', 60));

    const { durable } = (await groupOf(relay)).watermarks;
    expect((await groupOf(second)).watermarks.durable).toBeLessThan(durable);
    await second.client('resume', 'g');
    await second.client('wait', 'g', '--for', `applied=${durable}`, '--timeout', '60s');
    await second.client('promote', 'g');
    await isServedByNewPrimary(guest, fsynced, second);
  }, 240_000);
});
