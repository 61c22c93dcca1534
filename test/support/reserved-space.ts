import { join } from 'node:path';
import type { FileExtent } from '../../src/platform/disk.ts';
import { MiB } from '../../src/platform/limits.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { temporaryDirectory } from './temporary.ts';

/** Whether files below the directory tell reserved space from holes: on ext4 and XFS, with Linux 6.5. */
export function tellsReserved(directory: string): boolean {
  const disk = new NodeDisk();
  const probe = temporaryDirectory('reserved', directory);
  const path = join(probe.path, 'file');
  const file = disk.openSync(path, 'open-or-create', 'volume');
  const extent: FileExtent = { storage: 'data', end: 0, work: 0 };
  try {
    file.preallocateSync(0, MiB);
    file.extentSync(0, MiB, extent);
  } finally {
    file.closeSync();
    probe.remove();
  }
  return extent.storage === 'reserved';
}
