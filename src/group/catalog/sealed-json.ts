import { crc32 } from '../../platform/checksum.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';

/** Two lines: JSON, and the CRC-32 of the first one's bytes. Replaced whole, synced (invariant 7). */
export function writeSealedJson(disk: Disk, path: string, value: object): void {
  disk.replaceFileSync(path, sealedJson(value), 'catalog');
}

/** What such a file has in it. */
export function sealedJson(value: object): Uint8Array {
  const text = JSON.stringify(value);
  return Buffer.from(`${text}\n${seal(text)}\n`);
}

/**
 * Undefined where there is no such file. `formats`: of what this program reads, the newest. Throws JnbdError:
 * catalog_damaged, format_newer.
 */
export function readSealedJson<T extends { readonly formatVersion: number }>(
  disk: Disk,
  path: string,
  formats = 1,
): T | undefined {
  const contents = disk.readFileSync(path, 'catalog');
  if (contents === undefined) return undefined;
  const [text, checksum] = Buffer.from(contents).toString('utf8').split('\n');
  if (text === undefined || seal(text) !== checksum) {
    throw new JnbdError(
      'catalog_damaged',
      `${path} is damaged: its checksum does not match; restore it from a copy`,
    );
  }
  const value = JSON.parse(text) as T;
  if (!(value.formatVersion >= 1 && value.formatVersion <= formats)) {
    throw new JnbdError(
      'format_newer',
      `${path} has format ${String(value.formatVersion)}; this jnbd reads format ${formats}`,
    );
  }
  return value;
}

function seal(text: string): string {
  return crc32(Buffer.from(text)).toString(16).padStart(8, '0');
}
