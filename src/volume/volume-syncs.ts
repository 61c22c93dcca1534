import type { DiskFile } from '../platform/disk.ts';
import { ApplyError } from './apply-error.ts';
import type { VolumeChecksums } from './volume-checksums.ts';
import { type DirtyRegions, writeBackAndSync } from './write-back.ts';

export interface VolumeSyncsOwner {
  /** Of a volume that was written; `undefined`: it is deleted. */
  file(volume: number): DiskFile | undefined;
  failed(error: ApplyError): void;
}

/** Brings the volumes to the device, one sync of all of them after the other, while they are written. */
export class VolumeSyncs {
  readonly #dirty: DirtyRegions;
  readonly #checksums: VolumeChecksums;
  readonly #owner: VolumeSyncsOwner;
  /** What follows each that was asked for; the first one's is under way. */
  readonly #followers: (() => void)[] = [];

  constructor(dirty: DirtyRegions, checksums: VolumeChecksums, owner: VolumeSyncsOwner) {
    this.#dirty = dirty;
    this.#checksums = checksums;
    this.#owner = owner;
  }

  get isRunning(): boolean {
    return this.#followers.length > 0;
  }

  /**
   * What was written before this is covered by it; what is written meanwhile by the next, which begins
   * when this one has ended: what it does not find dirty is on the device. After a failure no sync ends any more:
   * what failed could pass for synced in the next one.
   */
  sync(done: () => void): void {
    this.#followers.push(done);
    if (this.#followers.length === 1) this.#run();
  }

  #run(): void {
    const dirty = this.#dirty.take();
    const checksums = this.#checksums.takeDirty();
    const next = (): void => {
      const part = dirty.shift();
      const unsynced = part ? undefined : checksums.shift();
      if (unsynced) {
        unsynced((error) => {
          if (error) this.#owner.failed(new ApplyError('sync', error.volume, error.cause));
          else next();
        });
        return;
      }
      if (!part) {
        this.#followers.shift()?.();
        if (this.#followers.length > 0) this.#run();
        return;
      }
      const file = this.#owner.file(part.volume);
      if (!file) {
        next();
        return;
      }
      // Of a volume that is deleted meanwhile nothing needs to be durable.
      const isThere = (): boolean => this.#owner.file(part.volume) === file;
      writeBackAndSync(file, part.regions, isThere, (error) => {
        if (!error || !isThere()) next();
        else this.#owner.failed(new ApplyError('sync', part.volume, error));
      });
    };
    next();
  }
}
