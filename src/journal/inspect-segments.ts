import type { Disk, DiskFile } from '../platform/disk.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';
import type { Problem } from './inspect-report.ts';
import type { FoundSegment } from './scan.ts';
import type { SegmentHeader } from './segment.ts';
import { decodeSegmentHeader, segmentFilePattern } from './segment.ts';

/** One file is open at a time: a journal may have more segments than a process may open files. */
export class OpenSegment {
  readonly #disk: Disk;
  #path = '';
  #file: DiskFile | undefined;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  at(path: string): DiskFile {
    if (this.#file && this.#path === path) return this.#file;
    this.close();
    this.#file = this.#disk.openSync(path, 'read', 'segment');
    this.#path = path;
    return this.#file;
  }

  close(): void {
    this.#file?.closeSync();
    this.#file = undefined;
  }
}

class OfflineSegment implements FoundSegment {
  readonly path: string;
  readonly header: SegmentHeader;
  readonly #open: OpenSegment;

  constructor(path: string, header: SegmentHeader, open: OpenSegment) {
    this.path = path;
    this.header = header;
    this.#open = open;
  }

  get file(): DiskFile {
    return this.#open.at(this.path);
  }
}

export interface FoundFiles {
  readonly slots: number;
  readonly segments: readonly FoundSegment[];
  readonly blank: readonly string[];
  readonly unreadable: readonly string[];
}

/** Every segment file of a directory, by its header as the device holds it. */
export function findSegments(
  disk: Disk,
  open: OpenSegment,
  directory: string,
  groupId: string | undefined,
  problems: Problem[],
): FoundFiles {
  const names = disk.listSync(directory).filter((name) => segmentFilePattern.test(name));
  const segments: FoundSegment[] = [];
  const blank: string[] = [];
  const unreadable: string[] = [];
  const block = disk.allocateAligned(segmentHeaderBytes);
  for (const name of names) {
    const path = `${directory}/${name}`;
    let cause = 'neither copy of its header proves';
    try {
      block.fill(0);
      const file = open.at(path);
      const sizeBytes = file.sizeSync();
      if (sizeBytes < segmentBytes) {
        problems.push({
          severity: 'damage',
          code: 'segment_short',
          message: `${path} has ${sizeBytes} bytes of ${segmentBytes}`,
          path,
          offset: sizeBytes,
        });
      }
      file.readDirectSync(block, 0, block.length, 0);
      const result = decodeSegmentHeader(block);
      if (result.kind === 'newer') {
        throw new JnbdError(
          'format_newer',
          `${path} has format ${result.formatVersion}, which this jnbd does not know`,
        );
      }
      if (result.kind !== 'bad') {
        // What another group left in the directory is as good as nothing.
        const header = result.kind === 'header' ? result.header : undefined;
        if (header && (groupId === undefined || header.groupId === groupId))
          segments.push(new OfflineSegment(path, header, open));
        else blank.push(path);
        continue;
      }
    } catch (error) {
      if (error instanceof JnbdError) throw error;
      cause = messageOf(error);
    }
    unreadable.push(path);
    problems.push({
      severity: 'damage',
      code: 'header_damaged',
      message: `${path} cannot be read: ${cause}; whether records were in it shows by what is missing`,
      path,
      offset: 0,
    });
  }
  open.close();
  return { slots: names.length, segments, blank, unreadable };
}
