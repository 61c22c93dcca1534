import type { Clock } from '../platform/clock.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { systemErrorCode } from '../platform/errors.ts';
import { KiB, MiB } from '../platform/limits.ts';

export const preservedBlockBytes = 64 * KiB;
/** Of the bitmap, as it is read and written. */
const pageBytes = 4096;
const blocksPerPage = pageBytes * 8;
const copyBytes = 1 * MiB;

/** A volume as it was when preserving began: what lies behind its end then is not preserved. */
export interface PreservedVolume {
  readonly id: number;
  readonly sizeBytes: number;
}

/** What is to be preserved, and where: a directory that is made when it is needed. */
export interface Preserving {
  readonly directory: string;
  readonly volumes: readonly PreservedVolume[];
}

/** Blocks [from, to). */
type Run = [from: number, to: number];

function contentsPath(directory: string, id: number): string {
  return `${directory}/${String(id).padStart(4, '0')}.blocks`;
}

function bitmapPath(directory: string, id: number): string {
  return `${directory}/${String(id).padStart(4, '0')}.bitmap`;
}

/** What one volume held, in a sparse file of its layout, and of which blocks, in a bitmap. */
class PreservedVolumeFiles {
  readonly #contents: DiskFile;
  readonly #bitmap: DiskFile;
  readonly #sizeBytes: number;
  readonly #pages = new Map<number, Uint8Array>();
  #wanted: Run[] = [];

  constructor(disk: Disk, directory: string, { id, sizeBytes }: PreservedVolume) {
    this.#sizeBytes = sizeBytes;
    disk.makeDirectorySync(directory);
    this.#contents = disk.openSync(contentsPath(directory, id), 'open-or-create', 'volume');
    this.#bitmap = disk.openSync(bitmapPath(directory, id), 'open-or-create', 'volume');
    disk.syncDirectorySync(directory);
    if (this.#contents.sizeSync() < sizeBytes) this.#contents.truncateSync(sizeBytes);
  }

  want(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#sizeBytes);
    for (let block = Math.floor(offset / preservedBlockBytes); ; block += 1) {
      if (block * preservedBlockBytes >= end) return;
      const last = this.#wanted.at(-1);
      if (last && block >= last[0] && block < last[1]) continue;
      if (this.#isSet(block)) continue;
      if (last && last[1] === block) last[1] += 1;
      else this.#wanted.push([block, block + 1]);
    }
  }

  forget(): void {
    this.#wanted = [];
  }

  get isWanting(): boolean {
    return this.#wanted.length > 0;
  }

  copy(from: DiskFile): void {
    for (const run of this.#wanted) {
      const [start, end] = this.#bytesOf(run);
      for (const { at, length, isHole } of pieces(from, start, end)) {
        if (!isHole) copyPiece(from, this.#contents, at, length);
      }
    }
  }

  syncContents(): void {
    this.#contents.dataSyncSync();
  }

  /** Their contents are on the device. What it returns syncs the bits; only then they count. */
  writeBits(): () => void {
    const changed = new Map<number, Uint8Array>();
    for (const [from, to] of this.#wanted) {
      for (let block = from; block < to; block += 1) {
        const index = Math.floor(block / blocksPerPage);
        const page = changed.get(index) ?? Uint8Array.from(this.#page(index));
        changed.set(index, page);
        const bit = block % blocksPerPage;
        page[bit >> 3] = (page[bit >> 3] ?? 0) | (1 << (bit & 7));
      }
    }
    for (const [index, page] of changed) {
      this.#bitmap.writeSync(page, 0, pageBytes, index * pageBytes);
    }
    return () => {
      this.#bitmap.dataSyncSync();
      for (const [index, page] of changed) this.#pages.set(index, page);
    };
  }

  /** Everything that is preserved, in order of address. */
  *runs(): Generator<Run> {
    const blocks = Math.ceil(this.#sizeBytes / preservedBlockBytes);
    const end = Math.min(blocks, this.#bitmap.sizeSync() * 8);
    let from = -1;
    for (let block = 0; block < end; block += 1) {
      if (from < 0 && block % blocksPerPage === 0 && this.#isBlank(block / blocksPerPage)) {
        block += blocksPerPage - 1;
      } else if (this.#isSet(block)) {
        if (from < 0) from = block;
      } else if (from >= 0) {
        yield [from, block];
        from = -1;
      }
    }
    if (from >= 0) yield [from, end];
  }

  *restorePieces(run: Run): Generator<Piece> {
    const [start, end] = this.#bytesOf(run);
    yield* pieces(this.#contents, start, end);
  }

  restore(to: DiskFile, { at, length, isHole }: Piece): void {
    if (isHole) to.punchHoleSync(at, length);
    else copyPiece(this.#contents, to, at, length);
  }

  close(): void {
    this.#contents.closeSync();
    this.#bitmap.closeSync();
  }

  #bytesOf([from, to]: Run): readonly [start: number, end: number] {
    const end = Math.min(to * preservedBlockBytes, this.#sizeBytes);
    return [from * preservedBlockBytes, end];
  }

  #isSet(block: number): boolean {
    const page = this.#page(Math.floor(block / blocksPerPage));
    const bit = block % blocksPerPage;
    return ((page[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  #isBlank(index: number): boolean {
    return this.#page(index).every((byte) => byte === 0);
  }

  #page(index: number): Uint8Array {
    const known = this.#pages.get(index);
    if (known) return known;
    const page = new Uint8Array(pageBytes);
    this.#bitmap.readSync(page, 0, pageBytes, index * pageBytes);
    this.#pages.set(index, page);
    return page;
  }
}

interface Piece {
  readonly at: number;
  readonly length: number;
  readonly isHole: boolean;
}

/** Data and holes between two offsets, no piece longer than a copy or a punch should be at a time. */
function* pieces(file: DiskFile, start: number, end: number): Generator<Piece> {
  for (let at = start; at < end; ) {
    const data = file.nextDataSync(at);
    const isHole = data !== at;
    const next = isHole ? data : file.nextHoleSync(at);
    const until = Math.min(end, next > at ? next : end);
    for (; at < until; at += copyBytes) {
      yield { at, length: Math.min(copyBytes, until - at), isHole };
    }
    at = until;
  }
}

const buffer = new Uint8Array(copyBytes);

function copyPiece(from: DiskFile, to: DiskFile, at: number, length: number): void {
  const read = from.readSync(buffer, 0, length, at);
  buffer.fill(0, read, length);
  to.writeSync(buffer, 0, length, at);
}

/**
 * What blocks of volumes held before they were overwritten, so that the volumes can be as they were (SAFETY
 * 30). Contents are on the device, then the bits that say so, and only then is anything overwritten. A
 * crash between the two leaves a block that is preserved again: it is still what it was.
 */
export class PreservedBlocks {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #volumes: ReadonlyMap<number, PreservedVolume>;
  readonly #files = new Map<number, PreservedVolumeFiles>();
  #syncFailure: Error | undefined;

  constructor(disk: Disk, { directory, volumes }: Preserving) {
    this.#disk = disk;
    this.#directory = directory;
    this.#volumes = new Map(volumes.map((volume) => [volume.id, volume]));
  }

  /** These bytes are about to be overwritten. `keep` comes before. Throws system errors. */
  want(volume: number, offset: number, length: number): void {
    const preserved = this.#volumes.get(volume);
    if (!preserved || length === 0) return;
    let files = this.#files.get(volume);
    if (!files) {
      files = new PreservedVolumeFiles(this.#disk, this.#directory, preserved);
      this.#files.set(volume, files);
    }
    files.want(offset, length);
  }

  /**
   * Preserves what is wanted and is not preserved yet: durable when it returns. `open` gives the volumes'
   * own files; one that is gone will not be overwritten. Throws system errors, and then nothing may be overwritten; after a sync that failed always.
   */
  keep(open: (volume: number) => DiskFile | undefined): void {
    const wanting = [...this.#files].filter(([, files]) => files.isWanting);
    if (wanting.length === 0) return;
    try {
      if (this.#syncFailure !== undefined) throw this.#syncFailure;
      for (const [volume, files] of wanting) {
        const file = open(volume);
        if (file) files.copy(file);
        else files.forget();
      }
      this.#sync(() => {
        for (const [, files] of wanting) files.syncContents();
      });
      const syncs = wanting.map(([, files]) => files.writeBits());
      this.#sync(() => {
        for (const sync of syncs) sync();
      });
    } finally {
      for (const [, files] of wanting) files.forget();
    }
  }

  close(): void {
    for (const files of this.#files.values()) files.close();
    this.#files.clear();
  }

  /** What is preserved is not needed any more. What cannot be removed takes space until the next start. */
  drop(): void {
    this.close();
    try {
      dropPreserved(this.#disk, this.#directory);
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
    }
  }

  /** A page cache can lie after it: what a later sync says is not believed (SAFETY 4). */
  #sync(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#syncFailure = error as Error;
      throw error;
    }
  }
}

/**
 * Makes the volumes what they were when preserving began; on the device when it resolves. Nobody else has
 * them open. After a crash it is done again from the start. Rejects with system errors.
 */
export async function putBack(
  { disk, clock }: { readonly disk: Disk; readonly clock: Clock },
  directory: string,
  volumes: readonly (PreservedVolume & { readonly path: string })[],
): Promise<void> {
  const yieldNow = (): Promise<void> => new Promise((resolve) => clock.soon(resolve));
  for (const volume of volumes) {
    // One that was missing is missed when the group is opened.
    if (!disk.existsSync(volume.path)) continue;
    const file = disk.openSync(volume.path, 'read-write', 'volume');
    try {
      if (file.sizeSync() !== volume.sizeBytes) file.truncateSync(volume.sizeBytes);
      if (disk.existsSync(bitmapPath(directory, volume.id))) {
        const files = new PreservedVolumeFiles(disk, directory, volume);
        try {
          for (const run of files.runs()) {
            for (const piece of files.restorePieces(run)) {
              files.restore(file, piece);
              await yieldNow();
            }
          }
        } finally {
          files.close();
        }
      }
      await new Promise<void>((resolve, reject) => {
        file.dataSync((error) => (error ? reject(error) : resolve()));
      });
    } finally {
      file.closeSync();
    }
  }
}

/** Removes all that is preserved. */
export function dropPreserved(disk: Disk, directory: string): void {
  if (!disk.isDirectorySync(directory)) return;
  for (const name of disk.listSync(directory)) disk.removeFileSync(`${directory}/${name}`);
  disk.syncDirectorySync(directory);
  disk.removeDirectorySync(directory);
}
