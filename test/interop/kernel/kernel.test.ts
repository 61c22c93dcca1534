import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { sleep, until } from '../../support/children.ts';
import { jnbd } from '../../support/built-program.ts';
import { Daemon } from '../../support/daemon.ts';
import { startSubject, type Subject } from '../../support/subject.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../support/temporary.ts';
import { guestImage, guestKernel, missingForGuest } from './guest-image.ts';
import { allocatedBytes } from './initramfs.ts';
import { VirtualMachine } from './virtual-machine.ts';

const guestPrograms = ['nbd-client', 'mkfs.ext4', 'e2fsck', 'mkfs.xfs', 'xfs_repair', 'fstrim'];
const missing = missingForGuest(guestPrograms);
if (missing.length > 0) console.warn(`kernel test skipped: missing ${missing.join(', ')}`);

const MiB = 1024 * 1024;
const volumes = { ext4: 512 * MiB, xfs: 512 * MiB };
/** Files of 32 MiB are deleted on each; what the filesystem keeps for itself is far below the rest. */
const givenBackBytes = 24 * MiB;

/** Of the kind `snapshot` or `view`. The server hears of a closed connection a moment later. */
async function deletePast({ dataDirectory }: Daemon, kind: string, name: string): Promise<void> {
  let said = '';
  const isDeleted = async (): Promise<boolean> => {
    const { code, stderr } = await jnbd([kind, 'delete', name, '--force', '--data', dataDirectory]);
    said = stderr;
    return code === 0;
  };
  await until(() => said, 20, isDeleted);
}

describe.skipIf(missing.length > 0)('the Linux kernel on our volumes', () => {
  let directory: TemporaryDirectory | undefined;
  let server: Subject | undefined;
  let machine: VirtualMachine | undefined;

  afterEach(async () => {
    await machine?.end();
    await server?.kill();
    directory?.remove();
  });

  it('keeps ext4 and XFS whole through two SIGKILLs and gives trimmed space back', async () => {
    directory = temporaryDirectory('kernel');
    server = await startSubject({ directory: directory.path, volumes });
    const daemon = server instanceof Daemon ? server : undefined;
    await daemon?.client('group', 'configure', 'g', '--history', '1h');
    const image = join(directory.path, 'initramfs');
    const plan = { script: 'guest.sh', settings: `PORT=${server.port}\n`, programs: guestPrograms };
    writeFileSync(image, await guestImage({ ...plan, fileSystems: ['ext4', 'xfs'] }));
    const guest = new VirtualMachine({ kernel: guestKernel, initramfs: image, memoryMiB: 512 });
    machine = guest;

    await guest.expect('up', 60);
    await guest.expect('connected', 60);
    // Records have the time to the millisecond.
    const first = new Date().toISOString();
    await sleep(5);
    guest.tell('go');

    for (const milliseconds of [30, 250]) {
      await guest.expect('writing', 30);
      await sleep(milliseconds);
      await server.kill();
      const [ext4Files, xfsFiles] = (await guest.expect('stopped', 60)).split(' ').map(Number);
      expect(ext4Files).toBeGreaterThan(40);
      expect(xfsFiles).toBeGreaterThan(40);
      await server.start();
      guest.tell('go');
    }

    await guest.expect('snapshot', 30);
    await daemon?.client('snapshot', 'create', 'g@live');
    await daemon?.client('snapshot', 'export', 'g@live', '--writable', 'lab');
    await daemon?.client('view', 'create', 'g', '--at', first, '--name', 'first', '--writable');
    guest.tell(daemon ? 'ext4@lab ext4@first' : '');
    const [byThen, inAll] = (await guest.expect('cloned', 120)).split(' ').map(Number);
    expect(inAll).toBeGreaterThan((byThen ?? 0) + (daemon ? 4 : 0));
    if (daemon) {
      await deletePast(daemon, 'view', 'g@first');
      // TRIM would leave alone what a snapshot needs.
      for (const name of ['g@lab', 'g@live']) await deletePast(daemon, 'snapshot', name);
    }
    guest.tell('go');

    await guest.expect('filled', 90);
    const backing = {
      ext4: await server.backingFile('ext4'),
      xfs: await server.backingFile('xfs'),
    };
    const filled = { ext4: 0, xfs: 0 };
    for (const name of ['ext4', 'xfs'] as const) {
      await until(
        () => `${backing[name]} holds ${allocatedBytes(backing[name])} bytes after 32 MiB`,
        20,
        () => (filled[name] = allocatedBytes(backing[name])) > 32 * MiB,
      );
    }
    guest.tell('go');
    await guest.expect('trimmed', 30);
    for (const name of ['ext4', 'xfs'] as const) {
      await until(
        () =>
          `${backing[name]} still holds ${allocatedBytes(backing[name])} of ${filled[name]} bytes`,
        20,
        () => allocatedBytes(backing[name]) < filled[name] - givenBackBytes,
      );
    }
    guest.tell('go');
    await guest.expect('done', 60);
  }, 240_000);
});
