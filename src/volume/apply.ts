import type { Checkpoint } from '../journal/checkpoint.ts';
import { CheckpointFile } from '../journal/checkpoint.ts';
import { isNumbered } from '../journal/record.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import { InvariantError, must } from '../platform/assert.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { messageOf, systemErrorCode } from '../platform/errors.ts';
import { MiB, segmentHeaderBytes } from '../platform/limits.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import type { ApplyFailurePart, ApplySegment, FromApply, ToApply } from './apply-messages.ts';
import type { ApplyStep } from './apply-plan.ts';
import { planSteps } from './apply-plan.ts';
import { tableArrays } from './block-table.ts';
import { nodeKind } from './node-kind.ts';
import { PreservedBlocks } from './preserved-blocks.ts';
import { doRegionWork } from './region-work.ts';
import { DirtyRegions, writeBackAndSync } from './write-back.ts';

const stagingBytes = 1 * MiB;
/** One punch of 16 MiB of allocated blocks takes milliseconds: larger ones are done in parts. */
const punchBytesMax = 16 * MiB;
/** Every segment of a journal of 16 GiB: blocks are read in order of their address, from all over it. */
const openSegmentsMax = 1024;

class ApplyError extends Error {
  readonly part: ApplyFailurePart;
  readonly volume: number | undefined;

  constructor(part: ApplyFailurePart, volume: number | undefined, cause: unknown) {
    super(messageOf(cause), { cause });
    this.part = part;
    this.volume = volume;
  }
}

/**
 * Journal to volumes, off the thread that serves hosts: takes one frozen table, writes the newest
 * version of each block in order of address, answers. Now and then it is told to make a checkpoint:
 * the volumes are synced, then the checkpoint is written and synced, then it answers; only then is
 * anything released (SAFETY 6). Doing tables again after a crash, from the last checkpoint on, gives
 * the same volumes, because it writes the same bytes to the same places in the same order.
 */
export class ApplyWorker {
  readonly #disk: Disk;
  readonly #port: WorkerPort<FromApply, ToApply>;
  readonly #volumes = new Map<number, DiskFile>();
  readonly #segments = new Map<string, DiskFile>();
  readonly #staging = new Uint8Array(stagingBytes);
  /** Sequences of segments on failed areas whose records proved. */
  readonly #proved = new Set<number>();
  /** Written since the last checkpoint began. */
  readonly #dirty = new DirtyRegions();
  /** What follows each sync that was asked for; the first one's is under way. */
  readonly #syncs: (() => void)[] = [];
  #checkpointPath = '';
  #preserved: PreservedBlocks | undefined;
  #checkpoint: CheckpointFile | undefined;
  #stagedVolume = 0;
  #stagedOffset = 0;
  #stagedBytes = 0;

  constructor(disk: Disk, port: WorkerPort<FromApply, ToApply>) {
    this.#disk = disk;
    this.#port = port;
    port.receive((message) => this.#handle(message));
  }

  close(): void {
    for (const file of this.#volumes.values()) file.closeSync();
    for (const file of this.#segments.values()) file.closeSync();
    this.#checkpoint?.close();
    this.#preserved?.close();
    this.#volumes.clear();
    this.#segments.clear();
  }

  #handle(message: ToApply): void {
    try {
      switch (message.kind) {
        case 'open':
          this.#checkpointPath = message.checkpointPath;
          if (message.preserving)
            this.#preserved = new PreservedBlocks(this.#disk, message.preserving);
          return;
        case 'forget':
          this.#forget(message.volume);
          return;
        case 'apply':
          this.#apply(message);
          this.#port.post({ kind: 'applied' });
          return;
        case 'copy':
          this.#copy(message);
          return;
        case 'scan':
        case 'extend_map':
          this.#port.post(doRegionWork(this.#disk, message));
          return;
        case 'preserve':
          this.#port.post({ kind: 'preserved', failure: this.#preserve(message) });
          return;
        case 'drop_preserved':
          this.#preserved?.drop();
          this.#preserved = undefined;
          return;
        case 'sync':
          this.#syncVolumes(() => this.#port.post({ kind: 'synced' }));
          return;
        case 'checkpoint':
          this.#syncVolumes(() => this.#writeCheckpoint(message.checkpoint));
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Closed only when no sync of it is under way. */
  #forget(volume: number): void {
    const file = this.#volumes.get(volume);
    this.#volumes.delete(volume);
    this.#dirty.forget(volume);
    file?.dataSync(() => file.closeSync());
  }

  #fail(error: unknown): void {
    if (!(error instanceof ApplyError)) throw error;
    this.#port.post({
      kind: 'failed',
      part: error.part,
      volume: error.volume,
      code: systemErrorCode(error.cause) ?? 'EIO',
      message: error.message,
    });
  }

  #copy(message: ToApply & { kind: 'copy' }): void {
    const { volume, offset, length, contents } = message;
    let failure: string | undefined;
    try {
      const file = this.#volumeFile(volume.id, volume.path);
      this.#keep(volume.id, () => this.#preserved?.want(volume.id, offset, length));
      this.#dirty.note(volume.id, offset, contents ? length : 0);
      if (contents)
        this.#guard('volume', volume.id, () => file.writeSync(contents, 0, length, offset));
      else this.#clear(file, { kind: nodeKind.hole, volume: volume.id, offset, length });
    } catch (error) {
      if (!(error instanceof ApplyError)) throw error;
      failure = error.message;
    }
    this.#port.post({ kind: 'copied', failure });
  }

  #preserve({ regions, volumes }: ToApply & { kind: 'preserve' }) {
    try {
      for (const { id, path } of volumes) this.#volumeFile(id, path);
      this.#keep(undefined, () => {
        for (const { volume, offset, length } of regions) {
          this.#preserved?.want(volume, offset, length);
        }
      });
      return undefined;
    } catch (error) {
      if (!(error instanceof ApplyError)) throw error;
      return { code: systemErrorCode(error.cause) ?? 'EIO', message: error.message };
    }
  }

  /** What `want` names is preserved, durably, before anything of it is overwritten (SAFETY 30). */
  #keep(volume: number | undefined, want: () => void): void {
    const preserved = this.#preserved;
    if (!preserved) return;
    this.#guard('volume', volume, () => {
      want();
      preserved.keep((id) => this.#volumes.get(id));
    });
  }

  /**
   * What was written before this is covered by it; what is written meanwhile by the next, which begins
   * when this one has ended: what it does not find dirty is on the device.
   */
  #syncVolumes(done: () => void): void {
    this.#syncs.push(done);
    if (this.#syncs.length === 1) this.#runSync();
  }

  #runSync(): void {
    const dirty = this.#dirty.take();
    const next = (): void => {
      const part = dirty.shift();
      if (!part) {
        this.#syncs.shift()?.();
        if (this.#syncs.length > 0) this.#runSync();
        return;
      }
      const file = this.#volumes.get(part.volume);
      if (!file) {
        next();
        return;
      }
      // Of a volume that is deleted meanwhile nothing needs to be durable.
      const isThere = (): boolean => this.#volumes.get(part.volume) === file;
      writeBackAndSync(file, part.regions, isThere, (error) => {
        if (!error || !isThere()) {
          next();
          return;
        }
        // The last one: what failed here could pass for synced in the next.
        this.#fail(new ApplyError('sync', part.volume, error));
      });
    };
    next();
  }

  #writeCheckpoint(checkpoint: Checkpoint): void {
    try {
      this.#guard('checkpoint', undefined, () => {
        const { groupId } = checkpoint;
        this.#checkpoint ??= CheckpointFile.open(this.#disk, this.#checkpointPath, groupId).file;
        this.#checkpoint.writeSync(checkpoint);
      });
      this.#port.post({ kind: 'checkpointed', applied: checkpoint.applied });
    } catch (error) {
      this.#fail(error);
    }
  }

  #apply(message: ToApply & { kind: 'apply' }): void {
    this.#stagedBytes = 0;
    const volumePaths = new Map(message.volumes.map(({ id, path }) => [id, path]));
    const segments = new Map(message.segments.map((segment) => [segment.sequence, segment]));
    let file: DiskFile | undefined;
    let fileOf = -1;
    const plan = (emit: (step: ApplyStep) => void): void =>
      planSteps(tableArrays(message.memory), message.count, message.ranges, emit);
    this.#keep(undefined, () =>
      plan(({ volume, offset, length }) => {
        const path = volumePaths.get(volume);
        if (path === undefined) return;
        this.#volumeFile(volume, path);
        this.#preserved?.want(volume, offset, length);
      }),
    );
    plan((step) => {
      if (step.volume !== fileOf) {
        this.#flush(file);
        const path = volumePaths.get(step.volume);
        fileOf = step.volume;
        // A volume that is gone from the catalog, or stores nothing: its records have no effect.
        file = path === undefined ? undefined : this.#volumeFile(step.volume, path);
      }
      if (!file) return;
      // Holes and zeroes leave nothing to write back: only the sync is needed.
      const isData = step.kind === nodeKind.data;
      this.#dirty.note(step.volume, step.offset, isData ? step.length : 0);
      if (isData) {
        const sequence = message.baseSequence + step.segment;
        const segment = must(segments.get(sequence), `apply was given segment ${sequence}`);
        if (segment.direct) this.#prove(segment);
        this.#stage(file, step, this.#segmentFile(segment.path), segment.direct);
      } else {
        this.#flush(file);
        this.#clear(file, step);
      }
    });
    this.#flush(file);
  }

  /** Gathers data for neighbouring addresses, so that they are written at once. */
  #stage(file: DiskFile, step: ApplyStep, segment: DiskFile, direct: boolean): void {
    for (let done = 0; done < step.length; ) {
      const offset = step.offset + done;
      if (this.#stagedBytes > 0 && offset !== this.#stagedOffset + this.#stagedBytes)
        this.#flush(file);
      if (this.#stagedBytes === stagingBytes) this.#flush(file);
      if (this.#stagedBytes === 0) {
        this.#stagedVolume = step.volume;
        this.#stagedOffset = offset;
      }
      const length = Math.min(step.length - done, stagingBytes - this.#stagedBytes);
      const position = step.segmentOffset + done;
      this.#guard('segment', step.volume, () => {
        const read = direct
          ? this.#readDirect(segment, length, position)
          : segment.readSync(this.#staging, this.#stagedBytes, length, position);
        if (read !== length) throw new Error(`${segment.path} ends at ${position + read}`);
      });
      this.#stagedBytes += length;
      done += length;
    }
  }

  /** Every record of a failed area is proved, from the device, before any of them is believed. */
  #prove(segment: ApplySegment): void {
    if (this.#proved.has(segment.sequence)) return;
    const file = this.#segmentFile(segment.path);
    this.#guard('segment', undefined, () => {
      const reader = new SegmentReader(this.#disk);
      const found = reader.open(file);
      if (found.kind !== 'header') throw new Error(`${segment.path} has no readable header`);
      let offset = segmentHeaderBytes;
      for (let number = 0; number < segment.lastNumber; ) {
        if (reader.recordAt(offset, found.header.salt) !== 'record') {
          throw new Error(`no valid record at offset ${offset} of ${segment.path}`);
        }
        if (isNumbered(reader.header.type)) number = reader.header.number;
        offset += reader.header.headerBytes + reader.header.payloadBytes;
      }
    });
    this.#proved.add(segment.sequence);
  }

  #readDirect(segment: DiskFile, length: number, position: number): number {
    const start = position - (position % 4096);
    const end = Math.ceil((position + length) / 4096) * 4096;
    const aligned = this.#disk.allocateAligned(end - start);
    const read = segment.readDirectSync(aligned, 0, end - start, start);
    const got = Math.max(0, Math.min(length, read - (position - start)));
    this.#staging.set(
      aligned.subarray(position - start, position - start + got),
      this.#stagedBytes,
    );
    return got;
  }

  #flush(file: DiskFile | undefined): void {
    if (this.#stagedBytes === 0 || !file) return;
    const bytes = this.#stagedBytes;
    this.#stagedBytes = 0;
    this.#guard('volume', this.#stagedVolume, () =>
      file.writeSync(this.#staging, 0, bytes, this.#stagedOffset),
    );
  }

  #clear(file: DiskFile, step: Pick<ApplyStep, 'kind' | 'volume' | 'offset' | 'length'>): void {
    for (let done = 0; done < step.length; done += punchBytesMax) {
      const length = Math.min(punchBytesMax, step.length - done);
      this.#guard('volume', step.volume, () => {
        if (step.kind === nodeKind.hole) file.punchHoleSync(step.offset + done, length);
        else file.zeroRangeSync(step.offset + done, length);
      });
    }
  }

  #volumeFile(id: number, path: string): DiskFile {
    const open = this.#volumes.get(id);
    if (open) return open;
    return this.#guard('volume', id, () => {
      const file = this.#disk.openSync(path, 'read-write', 'volume');
      this.#volumes.set(id, file);
      return file;
    });
  }

  #segmentFile(path: string): DiskFile {
    const open = this.#segments.get(path);
    if (open) return open;
    return this.#guard('segment', undefined, () => {
      if (this.#segments.size >= openSegmentsMax) {
        const [oldest] = this.#segments;
        if (oldest) {
          oldest[1].closeSync();
          this.#segments.delete(oldest[0]);
        }
      }
      const file = this.#disk.openSync(path, 'read', 'segment');
      this.#segments.set(path, file);
      return file;
    });
  }

  #guard<T>(part: ApplyFailurePart, volume: number | undefined, run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof ApplyError || error instanceof InvariantError) throw error;
      throw new ApplyError(part, volume, error);
    }
  }
}
