import type { Disk } from '../../platform/disk.ts';
import { refusedBySystem } from '../../platform/errors.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';

/** What the last drill said of the group. */
export interface Proven {
  readonly number: number;
  readonly atMilliseconds: number;
  readonly result: 'passed' | 'failed';
  /** Of the last one that passed. */
  readonly passedAtMilliseconds: number | undefined;
}

interface ProvenFile extends Proven {
  readonly formatVersion: 1;
}

/** Throws JnbdError: catalog_damaged, format_newer. */
export function readProven(disk: Disk, path: string): Proven | undefined {
  return readSealedJson<ProvenFile>(disk, path);
}

/** Throws write_failed, disk_full. */
export function writeProven(disk: Disk, path: string, proven: Proven): void {
  const file: ProvenFile = { formatVersion: 1, ...proven };
  try {
    writeSealedJson(disk, path, file);
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot write ${path}`) ?? error;
  }
}
