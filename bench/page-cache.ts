import { freemem } from 'node:os';
import { runChecked } from '../test/support/children.ts';
import { requireProgram } from '../test/support/tools.ts';

/** More than a row has in the page cache anew. */
const touchedBytesMax = 2 * 1024 ** 3;

/**
 * Uses memory and frees it. A hypervisor may take back what was free for a while, and each page of that then costs
 * microseconds when it is used again, as much as a whole request: without this who had to use memory first would
 * be the slow one.
 */
export async function touchMemory(): Promise<void> {
  const bytes = Math.floor(Math.min(touchedBytesMax, freemem() / 4));
  await runChecked(process.execPath, ['-e', `Buffer.alloc(${bytes}, 1)`]);
}

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
