import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, systemErrorCode } from '../../platform/errors.ts';

export type VerifiedResult = 'same' | 'different' | 'damaged' | 'failed';

/** What became of the newest verification of a group that came to its end. */
export interface LastVerified {
  readonly formatVersion: 1;
  /** Unix time. */
  readonly atMilliseconds: number;
  /** The update as of which volumes were compared; null: they were compared with nobody. */
  readonly number: number | null;
  readonly result: VerifiedResult;
  /** With whom they were. */
  readonly systems: readonly string[];
  readonly differingBytes: number;
  readonly damages: number;
}

/** Undefined: there was none, or what is there cannot be read, which the next verification tells. */
export function readVerified(disk: Disk, path: string): LastVerified | undefined {
  try {
    if (!disk.existsSync(path)) return undefined;
    return readSealedJson<LastVerified>(disk, path);
  } catch (error) {
    if (error instanceof JnbdError || systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}

/** False: it cannot be written, and the one before stands. */
export function writeVerified(disk: Disk, path: string, verified: LastVerified): boolean {
  try {
    writeSealedJson(disk, path, verified);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false;
  }
}
