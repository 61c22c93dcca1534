import { must } from '../../platform/assert.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import type { BlockSource } from './import.ts';
import type { Volume } from '../apply/volume.ts';

const pieceBytes = 1 * MiB;

/**
 * Puts what an image holds into the file of a volume that is empty, past the journal: nobody counts on it
 * before it was compared with the source. Durable when it resolves; a crash leaves any part. Rejects with
 * JnbdError (source_unreadable, disk_full, write_failed, request_aborted).
 */
export async function seedVolume(
  { file: backing, backingFile }: Volume,
  image: BlockSource,
  isWanted: () => boolean,
): Promise<void> {
  const file = must(backing, 'the volume stores something');
  const buffer = Buffer.allocUnsafe(pieceBytes);
  for (let position = 0; ; ) {
    const data = await image.nextData(position);
    if (!data) break;
    for (position = data.start; position < data.end; ) {
      if (!isWanted())
        throw new JnbdError('request_aborted', `${image.name} is not wanted any more`);
      const length = Math.min(pieceBytes, data.end - position);
      await image.read(buffer, 0, length, position);
      try {
        file.writeSync(buffer, 0, length, position);
      } catch (error) {
        throw refused(error as Error, backingFile);
      }
      position += length;
    }
  }
  await new Promise<void>((resolve, reject) => {
    file.dataSync((error) => {
      if (error) reject(refused(error, backingFile));
      else resolve();
    });
  });
}

function refused(cause: Error, path: string): Error {
  return refusedBySystem(cause, 'write_failed', `cannot write ${path}`) ?? cause;
}
