import type { VolumeSum } from '../journal/point-record.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { messageOf, systemErrorCode } from '../platform/errors.ts';
import { ApplyError, guard } from './apply-error.ts';
import type { ApplyVolume } from './apply-messages.ts';
import { ChecksumFile } from './checksum-file.ts';

/** `done` has an error where what could not be synced cannot be removed either. */
export type ChecksumSync = (done: (error?: ApplyError) => void) => void;

const filePattern = /^(\d{4,})\.(checksums|building)$/;

/**
 * The checksums of the volumes of a group, kept up by apply (SAFETY 31). A file is called `.checksums` once every
 * block has its entry there, on the device; whatever changes later is in the journal behind the checkpoint, and
 * done again after a crash. What cannot be kept is removed, durably, before apply goes on without: it never holds
 * up apply.
 */
export class VolumeChecksums {
  readonly #disk: Disk;
  readonly #files = new Map<number, ChecksumFile>();
  #directory: string | undefined;
  /** Why the last file was given up that could not be kept; undefined: none was, since that was told. */
  #failure: string | undefined;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Whether what a checkpoint covers is in the checksums, too. */
  get isOn(): boolean {
    return this.#directory !== undefined;
  }

  /**
   * Goes on with what is there, as far as it can be believed; undefined: nothing is kept from now on, and what is
   * there is removed. Throws system errors, and then nothing is kept either.
   */
  keep(directory: string, place: { readonly isKept: boolean } | undefined): void {
    this.close();
    if (!place) {
      removeChecksums(this.#disk, directory);
      return;
    }
    try {
      this.#open(directory, place.isKept);
      this.#directory = directory;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #open(directory: string, isKept: boolean): void {
    this.#disk.makeDirectorySync(directory);
    for (const name of this.#disk.listSync(directory)) {
      const [, id = '', ending] = filePattern.exec(name) ?? [];
      const path = `${directory}/${name}`;
      if (isKept && ending === 'checksums')
        this.#files.set(Number(id), new ChecksumFile(this.#disk, path, true));
      else this.#disk.removeFileSync(path);
    }
    this.#disk.syncDirectorySync(directory);
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
    this.#directory = undefined;
  }

  /** Forgets what a batch left that failed. */
  begin(): void {
    for (const file of this.#files.values()) file.begin();
  }

  written(volume: number, bytes: Uint8Array, start: number, length: number, offset: number): void {
    this.#files.get(volume)?.written(bytes, start, length, offset);
  }

  zeroed(volume: number, offset: number, length: number): void {
    this.#files.get(volume)?.zeroed(offset, length);
  }

  /** All of the batch is in the volumes' files, which `open` gives. Throws ApplyError. */
  finish(open: (volume: number) => DiskFile | undefined): void {
    for (const [id, file] of this.#files) {
      const volume = open(id);
      if (volume) this.#keeping(id, () => file.finish(volume));
    }
  }

  /** What the volumes hold, of those whose sums are known. */
  sums(): VolumeSum[] {
    const sums: VolumeSum[] = [];
    for (const [volume, { sum }] of this.#files) if (sum) sums.push({ volume, ...sum });
    return sums.sort((a, b) => a.volume - b.volume);
  }

  /**
   * Goes on with what is not complete of these volumes, of which `open` gives the files, reading so much at most.
   * Throws ApplyError.
   */
  work(
    volumes: readonly ApplyVolume[],
    open: (volume: ApplyVolume) => DiskFile,
    bytesMax: number,
  ): { readonly isComplete: boolean; readonly failure: string | undefined } {
    for (const id of this.#files.keys())
      if (!volumes.some((volume) => volume.id === id)) this.#forget(id);
    let left = bytesMax;
    for (const volume of volumes) {
      if (left <= 0 || this.#failure !== undefined) break;
      const volumeFile = open(volume);
      this.#keeping(volume.id, () => {
        left -= this.#fileOf(volume.id)?.work(volumeFile, left) ?? 0;
      });
    }
    const failure = this.#failure;
    this.#failure = undefined;
    const isComplete = volumes.every(({ id }) => this.#files.get(id)?.state === 'complete');
    return { isComplete, failure };
  }

  /** The syncs of all that none has covered yet: one after the other. */
  takeDirty(): ChecksumSync[] {
    return [...this.#files].flatMap(([id, file]) => {
      const isToBeKept = file.state === 'complete' && file.path !== this.#path(id, 'checksums');
      if (!file.isDirty && !isToBeKept) return [];
      file.isDirty = false;
      return [(done: (error?: ApplyError) => void) => this.#sync(id, file, isToBeKept, done)];
    });
  }

  #sync(
    id: number,
    file: ChecksumFile,
    isToBeKept: boolean,
    done: (error?: ApplyError) => void,
  ): void {
    // One that was given up meanwhile needs none.
    const isThere = (): boolean => this.#files.get(id) === file;
    if (!isThere()) {
      done();
      return;
    }
    file.dataSync((failure) => {
      let error: ApplyError | undefined;
      try {
        if (isThere())
          this.#keeping(id, () => {
            if (failure) throw failure;
            if (isToBeKept) this.#keep(id, file);
          });
      } catch (thrown) {
        if (!(thrown instanceof ApplyError)) throw thrown;
        error = thrown;
      }
      done(error);
    });
  }

  #forget(volume: number): void {
    const file = this.#files.get(volume);
    if (file) guard('checksums', volume, () => this.#remove(volume, file));
  }

  /** The name is durable once the contents are. */
  #keep(volume: number, file: ChecksumFile): void {
    file.renameTo(this.#path(volume, 'checksums'));
    this.#disk.syncDirectorySync(this.#directory ?? '');
  }

  #fileOf(volume: number): ChecksumFile | undefined {
    const known = this.#files.get(volume);
    if (known || !this.isOn) return known;
    const made = new ChecksumFile(this.#disk, this.#path(volume, 'building'), false);
    this.#files.set(volume, made);
    return made;
  }

  /** What fails there is no reason to fail for whoever writes the volume, once it is gone. */
  #keeping(volume: number, run: () => void): void {
    try {
      run();
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      this.#failure = messageOf(error);
      this.#forget(volume);
    }
  }

  #remove(volume: number, file: ChecksumFile): void {
    if (this.#disk.existsSync(file.path)) this.#disk.removeFileSync(file.path);
    this.#disk.syncDirectorySync(this.#directory ?? '');
    this.#files.delete(volume);
    file.close();
  }

  #path(volume: number, ending: 'checksums' | 'building'): string {
    return `${this.#directory}/${String(volume).padStart(4, '0')}.${ending}`;
  }
}

/** Durable when it returns. Throws system errors. */
export function removeChecksums(disk: Disk, directory: string): void {
  if (!disk.isDirectorySync(directory)) return;
  for (const name of disk.listSync(directory)) disk.removeFileSync(`${directory}/${name}`);
  disk.syncDirectorySync(directory);
  disk.removeDirectorySync(directory);
}
