import type { Disk } from '../platform/disk.ts';
import { NodeDisk } from '../platform/node-disk.ts';

/** The disk of this machine, for reading a journal without a daemon. */
export function offlineDisk(): Disk {
  return new NodeDisk();
}
