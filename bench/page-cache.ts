import { runChecked } from '../test/support/children.ts';
import { requireProgram } from '../test/support/tools.ts';

/** Tells the kernel to drop what is clean of the file; needs no rights over the machine. */
export async function dropFromPageCache(file: string): Promise<void> {
  await runChecked('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
}

/**
 * Reads what is missing of the file in single pages, as random access does. Reading it from end to end would
 * leave folios of up to 2 MiB, behind which ext4 takes several times as long for each random write of 4 KiB: a
 * race over them says more about the last one who read the file than about the servers.
 */
export async function readIntoPageCache(file: string): Promise<void> {
  await runChecked(
    requireProgram('fio'),
    [
      ['--name=read-in', '--readonly', `--filename=${file}`, '--rw=read', '--bs=1M'],
      ['--fadvise_hint=random', '--invalidate=0'],
    ].flat(),
    { timeoutSeconds: 600 },
  );
}
