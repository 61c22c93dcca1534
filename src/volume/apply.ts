import type { Checkpoint } from '../journal/checkpoint.ts';
import { CheckpointFile } from '../journal/checkpoint.ts';
import { must } from '../platform/assert.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { messageOf, systemErrorCode } from '../platform/errors.ts';
import { MiB } from '../platform/limits.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import { ApplyError, guard } from './apply-error.ts';
import { mapRangeOf } from './area-layout.ts';
import { AreaMarks } from './area-marks.ts';
import type { ApplyVolume, FromApply, ToApply } from './apply-messages.ts';
import type { ApplyStep } from './apply-plan.ts';
import { planSteps } from './apply-plan.ts';
import { JournalPayloads } from './journal-payloads.ts';
import { nodeKind } from './node-kind.ts';
import { PreservedBlocks } from './preserved-blocks.ts';
import { doRegionWork } from './region-work.ts';
import { tableArrays } from './table-arrays.ts';
import { VolumeChecksums } from './volume-checksums.ts';
import { VolumeWriter } from './volume-writer.ts';
import { BaseWork } from './base-work.ts';
import { listRecords } from './record-list.ts';
import { hashVolume } from './unit-hashes.ts';
import { VolumeSyncs } from './volume-syncs.ts';
import { DirtyRegions } from './write-back.ts';

/** Of volumes whose checksums are not complete: what stands in the way of a batch meanwhile. */
const checksumBytesAtOnce = 4 * MiB;

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
  readonly #payloads: JournalPayloads;
  readonly #writer: VolumeWriter;
  /** Written since the last checkpoint began. */
  readonly #dirty = new DirtyRegions();
  readonly #marks = new AreaMarks((volume, at, length) => this.#dirty.note(volume, at, length));
  readonly #base: BaseWork;
  readonly #checksums: VolumeChecksums;
  readonly #syncs: VolumeSyncs;
  #checkpointPath = '';
  #preserved: PreservedBlocks | undefined;
  #checkpoint: CheckpointFile | undefined;
  /** The table that is being applied. */
  #applying: Generator<void> | undefined;
  /** What came meanwhile. */
  readonly #waiting: ToApply[] = [];

  constructor(disk: Disk, port: WorkerPort<FromApply, ToApply>) {
    this.#disk = disk;
    this.#port = port;
    this.#payloads = new JournalPayloads(disk);
    this.#base = new BaseWork(disk);
    this.#checksums = new VolumeChecksums(disk);
    this.#syncs = new VolumeSyncs(this.#dirty, this.#checksums, {
      file: (volume) => this.#volumes.get(volume),
      failed: (error) => this.#fail(error),
    });
    this.#writer = new VolumeWriter(this.#payloads, (volume, bytes, start, length, offset) =>
      this.#checksums.written(volume, bytes, start, length, offset),
    );
    port.receive((message) => {
      if (this.#applying) this.#waiting.push(message);
      else this.#handle(message);
    });
  }

  close(): void {
    for (const file of this.#volumes.values()) file.closeSync();
    this.#payloads.close();
    this.#checkpoint?.close();
    this.#preserved?.close();
    this.#base.close();
    this.#checksums.close();
    this.#volumes.clear();
  }

  #handle(message: ToApply): void {
    try {
      switch (message.kind) {
        case 'open':
          this.#checkpointPath = message.checkpointPath;
          if (message.preserving)
            this.#preserved = new PreservedBlocks(this.#disk, message.preserving);
          this.#base.open(message.base);
          return;
        case 'forget':
          this.#forget(message.volume);
          return;
        case 'apply':
          this.#applying = this.#apply(message);
          this.#goOn();
          return;
        case 'keep_checksums':
        case 'work_on_checksums':
          this.#port.post(this.#workOnChecksums(message));
          return;
        case 'copy':
          this.#copy(message);
          return;
        case 'hash':
          this.#port.post({ kind: 'hashed', hashes: hashVolume(this.#disk, message) });
          return;
        case 'scan':
        case 'extend_map':
          this.#port.post(doRegionWork(this.#disk, message));
          return;
        case 'list_records':
          this.#port.post(listRecords(this.#disk, message));
          return;
        case 'begin_base':
          this.#port.post(this.#base.begin(message.base, message.contents));
          return;
        case 'cover_volumes':
          this.#base.cover(message.volumes);
          return;
        case 'drop_bases':
          this.#port.post(this.#base.drop(message.directories));
          return;
        case 'preserve':
          this.#port.post({ kind: 'preserved', failure: this.#preserve(message) });
          return;
        case 'drop_preserved':
          this.#preserved?.drop();
          this.#preserved = undefined;
          return;
        case 'sync':
          this.#syncs.sync(() => this.#port.post({ kind: 'synced' }));
          return;
        case 'checkpoint':
          this.#syncs.sync(() => this.#writeCheckpoint(message.checkpoint));
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /**
   * Until the table is applied, or it failed. While volumes are synced it is done in parts: between them the next
   * region begins to be written back. Otherwise a checkpoint would have one region for each table of a busy host, and
   * hosts would wait for the rest when the journal is full.
   */
  readonly #goOn = (): void => {
    try {
      let isDone: boolean | undefined;
      do isDone = this.#applying?.next().done;
      while (isDone === false && !this.#syncs.isRunning);
      if (isDone === false) {
        this.#port.soon(this.#goOn);
        return;
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#applying = undefined;
    while (!this.#applying) {
      const message = this.#waiting.shift();
      if (!message) return;
      this.#handle(message);
    }
  };

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
      if (this.#base.isOn)
        throw new ApplyError('history', volume.id, new Error('the history was not ended before'));
      const file = this.#volumeFile(volume.id, volume.path);
      this.#keep(volume.id, () => this.#preserved?.want(volume.id, offset, length));
      this.#dirty.note(volume.id, offset, contents ? length : 0);
      this.#checksums.begin();
      if (contents) {
        guard('volume', volume.id, () => file.writeSync(contents, 0, length, offset));
        this.#checksums.written(volume.id, contents, 0, length, offset);
      } else {
        this.#writer.clear(file, { kind: nodeKind.hole, volume: volume.id, offset, length });
        this.#checksums.zeroed(volume.id, offset, length);
      }
      this.#checksums.finish((id) => this.#volumes.get(id));
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
    guard('volume', volume, () => {
      want();
      preserved.keep((id) => this.#volumes.get(id));
    });
  }

  #writeCheckpoint(checkpoint: Checkpoint): void {
    try {
      guard('checkpoint', undefined, () => {
        const { groupId } = checkpoint;
        this.#checkpoint ??= CheckpointFile.open(this.#disk, this.#checkpointPath, groupId).file;
        const hasChecksums = this.#checksums.isOn;
        this.#checkpoint.writeSync({ ...checkpoint, hasChecksums });
      });
      this.#port.post({ kind: 'checkpointed', applied: checkpoint.applied });
    } catch (error) {
      this.#fail(error);
    }
  }

  *#apply(message: ToApply & { kind: 'apply' }): Generator<void> {
    const writer = this.#writer;
    writer.begin();
    this.#marks.begin();
    this.#checksums.begin();
    const volumes = new Map(message.volumes.map((volume) => [volume.id, volume]));
    const segments = new Map(message.segments.map((segment) => [segment.sequence, segment]));
    let file: DiskFile | undefined;
    let fileOf = -1;
    const plan = (emit: (step: ApplyStep) => void): void =>
      planSteps(tableArrays(message.memory), message.count, message.ranges, emit);
    let dataBytes: number | undefined;
    this.#keep(undefined, () =>
      plan(({ volume: id, offset, length }) => {
        const volume = volumes.get(id);
        if (!volume) return;
        this.#volumeFile(id, volume.path);
        this.#preserved?.want(id, offset, length);
        const map = mapRangeOf(volume.areaDataBytes ?? 0, offset, length);
        if (map) this.#preserved?.want(id, map.offset, map.length);
      }),
    );
    this.#keepForHistory(volumes, plan);
    plan((step) => {
      if (step.volume !== fileOf) {
        const volume = volumes.get(step.volume);
        fileOf = step.volume;
        // A volume that is gone from the catalog, or stores nothing: its records have no effect.
        file = volume && this.#volumeFile(step.volume, volume.path);
        dataBytes = volume?.areaDataBytes;
      }
      if (!file) return;
      this.#mark(file, dataBytes, step);
      // Holes and zeroes leave nothing to write back: only the sync is needed.
      const isData = step.kind === nodeKind.data;
      this.#dirty.note(step.volume, step.offset, isData ? step.length : 0);
      if (isData) {
        const sequence = message.baseSequence + step.segment;
        const segment = must(segments.get(sequence), 'apply was given the segment', sequence);
        writer.data(file, step, segment);
      } else {
        writer.clear(file, step);
        this.#checksums.zeroed(step.volume, step.offset, step.length);
      }
    });
    yield* writer.finish();
    guard('volume', undefined, () => this.#marks.finish());
    this.#checksums.finish((id) => this.#volumes.get(id));
    for (const segment of message.segments) if (segment.isWhole) this.#payloads.applied(segment);
    this.#payloads.letGo(message.unreadThrough);
    const sums = message.isPoint ? this.#checksums.sums() : undefined;
    this.#port.post({ kind: 'applied', sums });
  }

  #workOnChecksums(
    message: ToApply & { kind: 'keep_checksums' | 'work_on_checksums' },
  ): FromApply & { kind: 'checksums_worked' } {
    const kind = 'checksums_worked';
    try {
      if (message.kind === 'keep_checksums') {
        this.#checksums.keep(message.directory, message.place);
        return { kind, isComplete: !message.place, failure: undefined };
      }
      const open = ({ id, path }: ApplyVolume): DiskFile => this.#volumeFile(id, path);
      const worked = this.#checksums.work(message.volumes, open, checksumBytesAtOnce);
      return { kind, ...worked };
    } catch (error) {
      if (!(error instanceof ApplyError) && systemErrorCode(error) === undefined) throw error;
      return { kind, isComplete: false, failure: messageOf(error) };
    }
  }

  /** A batch that is done again after a crash finds its blocks there, and what it wrote is not taken for old. */
  #keepForHistory(
    volumes: ReadonlyMap<number, ApplyVolume>,
    plan: (emit: (step: ApplyStep) => void) => void,
  ): void {
    if (!this.#base.isOn) return;
    plan(({ volume: id, offset, length }) => {
      const volume = volumes.get(id);
      if (!volume) return;
      this.#volumeFile(id, volume.path);
      this.#base.want(volume, offset, length);
    });
    this.#base.keep((id) => this.#volumes.get(id));
  }

  /** What stands in an area from now on is told by its map. */
  #mark(
    file: DiskFile,
    dataBytes: number | undefined,
    { volume, offset, length }: ApplyStep,
  ): void {
    if (dataBytes === undefined) return;
    guard('volume', volume, () => this.#marks.mark(volume, file, dataBytes, offset, length));
  }

  #volumeFile(id: number, path: string): DiskFile {
    const open = this.#volumes.get(id);
    if (open) return open;
    return guard('volume', id, () => {
      const file = this.#disk.openSync(path, 'read-write', 'volume');
      this.#volumes.set(id, file);
      return file;
    });
  }
}
