import { CheckpointFile } from '../../src/journal/checkpoint.ts';
import { Area } from '../../src/journal/area.ts';
import type { LiveSegment } from '../../src/journal/segment-chain.ts';
import { SegmentChain } from '../../src/journal/segment-chain.ts';
import { must } from '../../src/platform/assert.ts';
import type { Clock } from '../../src/platform/clock.ts';
import type { Disk, DiskFile } from '../../src/platform/disk.ts';
import { blockBytes, segmentBytes } from '../../src/platform/limits.ts';
import type { Random } from '../../src/platform/random.ts';
import type { WorkerPort } from '../../src/platform/worker-port.ts';
import type { FromApply, ToApply } from '../../src/volume/apply-messages.ts';
import { ApplyWorker } from '../../src/volume/apply.ts';
import { BlockIndex } from '../../src/volume/block-index.ts';
import { BlockTable } from '../../src/volume/block-table.ts';
import { type NodeKind, nodeKind } from '../../src/volume/node-kind.ts';
import { VolumeExtents } from '../../src/volume/volume-extents.ts';
import { VolumeReader } from '../../src/volume/volume-read.ts';

export const groupId = '0123456789abcdef0123456789abcdef';

/** A port whose other end answers within the call. */
class DirectPort implements WorkerPort<FromApply, ToApply> {
  readonly answers: FromApply[] = [];
  #handler: ((message: ToApply) => void) | undefined;

  post(message: FromApply): void {
    this.answers.push(message);
  }
  receive(handler: (message: ToApply) => void): void {
    this.#handler = handler;
  }
  soon(): void {
    throw new Error('volumes are not synced here: a table is applied at once');
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
  send(message: ToApply): void {
    must(this.#handler, 'the worker receives')(message);
  }
}

export interface ModelVolume {
  readonly id: number;
  readonly path: string;
  readonly file: DiskFile;
  readonly sizeBytes: number;
  /** The part of the volume that the model looks at. */
  readonly windowStart: number;
  readonly contents: Buffer;
  /**
   * Per block of the window: 0 where nothing was stored since it was last given back, 2 where it was
   * last zeroed as a whole, to stay allocated, else 1.
   */
  readonly isAllocated: Uint8Array;
}

/** One that may not be applied yet. */
interface ModelRecord {
  readonly number: number;
  readonly nodes: number;
  readonly enter: (table: BlockTable) => void;
  /** Its payload is anything from now on, as in a segment that is used again. */
  readonly spoil: () => void;
}

/**
 * Index, reader, extents and apply of one group, on a disk, beside a plain array of what the volumes
 * must read. The journal is payloads in segment files, without records around them.
 */
export class UnappliedModel {
  readonly index: BlockIndex;
  readonly reader: VolumeReader;
  readonly extents: VolumeExtents;
  readonly volumes: ModelVolume[] = [];
  readonly port = new DirectPort();
  readonly worker: ApplyWorker;
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #area: Area;
  readonly #chain: SegmentChain;
  readonly #live: LiveSegment[] = [];
  readonly #wait: (isDone: () => boolean) => Promise<void>;
  #sequence = 0;
  #offset = segmentBytes;
  #number = 0;
  #records: ModelRecord[] = [];
  #isDivided = false;
  #isApplying = false;

  constructor(
    disk: Disk,
    deps: { clock: Clock; random: Random },
    directory: string,
    tableNodesMax: number,
    wait: (isDone: () => boolean) => Promise<void>,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#wait = wait;
    disk.makeDirectorySync(directory);
    this.#area = new Area(disk, directory, 0);
    const identity = { groupId, generation: 1, generationSystem: 1, incarnation: 1 };
    // The chain keeps what it is given; what is added later is found through the same map.
    for (let sequence = 1; sequence <= 64; sequence += 1) this.#live.push(this.#segment(sequence));
    this.#chain = new SegmentChain(deps, [this.#area], 'striped', identity, this.#live, 65);
    this.index = new BlockIndex(tableNodesMax);
    this.reader = new VolumeReader(this.index, this.#chain);
    this.extents = new VolumeExtents(this.index);
    CheckpointFile.create(disk, `${directory}/checkpoint`, {
      groupId,
      applied: 0,
      released: 0,
      sequence: 1,
      offset: 4096,
    });
    this.worker = new ApplyWorker(disk, this.port);
    const checkpointPath = `${directory}/checkpoint`;
    this.port.send({ kind: 'open', checkpointPath, preserving: undefined });
  }

  #segment(sequence: number): LiveSegment {
    const path = this.#area.segmentPath(sequence);
    const file = this.#disk.openSync(path, 'create', 'segment');
    file.truncateSync(segmentBytes);
    const header = {
      groupId,
      generation: 1,
      generationSystem: 1,
      incarnation: 1,
      sequence,
      firstNumber: 0,
      durable: 0,
      timeBaseMilliseconds: 0,
      salt: 0,
    };
    const slot = sequence;
    return {
      header,
      area: this.#area,
      slot,
      file,
      beginsAt: 0,
      endOffset: 0,
      lastNumber: 0,
      dirty: false,
      lostFrom: 2 ** 24,
      pins: 0,
    };
  }

  addVolume(id: number, sizeBytes: number, windowStart: number, windowBytes: number): void {
    const path = `${this.#directory}/${id}.volume`;
    const file = this.#disk.openSync(path, 'create', 'volume');
    file.truncateSync(sizeBytes);
    this.volumes.push({
      id,
      path,
      file,
      sizeBytes,
      windowStart,
      contents: Buffer.alloc(windowBytes),
      isAllocated: new Uint8Array(windowBytes / blockBytes),
    });
  }

  close(): void {
    this.worker.close();
    for (const { file } of [...this.#live, ...this.volumes]) file.closeSync();
  }

  get isApplying(): boolean {
    return this.#isApplying;
  }

  get pins(): number {
    return this.#live.reduce((sum, { pins }) => sum + pins, 0);
  }

  /** Room in the journal and in the index, as `admit` makes it. */
  #makeRoom(bytes: number, gap: number, nodes: number): LiveSegment {
    this.#offset += gap;
    if (this.#offset + bytes > segmentBytes) {
      this.#sequence = (this.#sequence % 64) + 1;
      if (this.#sequence === 1 && this.#number > 0) throw new Error('the model journal is full');
      this.#offset = 4096 + gap;
    }
    while (!this.index.admits(nodes, this.#sequence)) this.apply();
    this.#number += 1;
    return must(this.#chain.find(this.#sequence), 'the segment is there');
  }

  write(volume: ModelVolume, start: number, bytes: Uint8Array, gap: number): void {
    const segment = this.#makeRoom(bytes.length, gap, BlockTable.nodesFor(bytes.length, true));
    segment.file.writeSync(bytes, 0, bytes.length, this.#offset);
    const at = volume.windowStart + start;
    const [number, sequence, offset] = [this.#number, this.#sequence, this.#offset];
    this.#enter({
      number,
      nodes: BlockTable.nodesFor(bytes.length, true),
      enter: (table) => table.insertData(volume.id, at, bytes.length, number, sequence, offset),
      spoil: () => {
        segment.file.writeSync(Buffer.alloc(bytes.length, 0xee), 0, bytes.length, offset);
      },
    });
    this.#offset += bytes.length;
    volume.contents.set(bytes, start);
    const first = Math.floor(start / blockBytes);
    volume.isAllocated.fill(1, first, Math.ceil((start + bytes.length) / blockBytes));
  }

  /** `start` and `length` are of the window; they may reach out of it, within the volume. */
  clear(volume: ModelVolume, kind: NodeKind, start: number, length: number): void {
    this.#makeRoom(0, 28, BlockTable.nodesFor(length, false));
    const at = volume.windowStart + start;
    const [number, sequence, offset] = [this.#number, this.#sequence, this.#offset];
    this.#enter({
      number,
      nodes: BlockTable.nodesFor(length, false),
      enter: (table) => table.insertRange(volume.id, kind, at, length, number, sequence, offset),
      spoil: () => undefined,
    });
    const from = Math.max(0, start);
    const to = Math.min(volume.contents.length, start + length);
    if (from >= to) return;
    volume.contents.fill(0, from, to);
    if (kind === nodeKind.zero) {
      const first = Math.floor(from / blockBytes);
      volume.isAllocated.fill(1, first, Math.ceil(to / blockBytes));
    } else if (from < to) {
      const edges = [Math.floor(from / blockBytes), Math.ceil(to / blockBytes) - 1];
      for (const at of edges) if (volume.isAllocated[at] === 2) volume.isAllocated[at] = 1;
    }
    const first = Math.ceil(from / blockBytes);
    const end = Math.floor(to / blockBytes);
    if (first < end) volume.isAllocated.fill(kind === nodeKind.zero ? 2 : 0, first, end);
  }

  #enter(record: ModelRecord): void {
    record.enter(this.index.active);
    this.#records.push(record);
  }

  /** So much of the oldest table is applied by itself next. */
  divide(share: number): void {
    const { oldest } = this.index;
    if (this.#isApplying || this.#isDivided) return;
    const inOldest = this.#records.filter(({ number }) => number < oldest.lastNumber);
    const beginning = this.index.emptyTable();
    for (const record of inOldest.slice(0, Math.ceil(share * inOldest.length))) {
      if (!beginning.hasRoom(record.nodes, this.#sequence)) break;
      record.enter(beginning);
    }
    if (beginning.isEmpty) return;
    this.index.divide(beginning);
    this.#isDivided = true;
  }

  /** The worker gets the oldest frozen table; the index keeps it until `applyEnded`. */
  applyBegan(): 'applied' | 'failed' | 'nothing' {
    if (this.#isApplying) return 'nothing';
    const table = this.index.oldestFrozen;
    if (!table) return 'nothing';
    this.port.answers.length = 0;
    this.port.send({
      kind: 'apply',
      memory: table.memory,
      count: table.count,
      ranges: table.ranges.list(),
      baseSequence: table.baseSequence,
      segments: this.#live.map(({ header: { sequence }, file: { path }, lastNumber }) => ({
        sequence,
        path,
        direct: sequence % 3 === 0,
        lastNumber,
        isWhole: sequence % 2 === 0,
      })),
      unreadThrough: Infinity,
      volumes: this.volumes.map(({ id, path }) => ({ id, path })),
      isPoint: true,
    });
    const answer = must(this.port.answers[0], 'the worker answered');
    if (answer.kind !== 'applied') return 'failed';
    this.#isApplying = true;
    return 'applied';
  }

  applyEnded(): void {
    if (!this.#isApplying) return;
    this.#isApplying = false;
    this.#isDivided = false;
    const { lastNumber } = must(this.index.oldestFrozen, 'a table was applied');
    this.index.applied();
    for (const { number, spoil } of this.#records) if (number <= lastNumber) spoil();
    this.#records = this.#records.filter(({ number }) => number > lastNumber);
  }

  apply(): void {
    this.applyEnded();
    if (this.index.frozenCount === 0) this.index.freeze();
    while (this.applyBegan() === 'failed');
    this.applyEnded();
  }

  applyAll(): void {
    while (!this.index.isEmpty) this.apply();
  }

  /** Reads bytes of the window as a host does. */
  async read(volume: ModelVolume, start: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length + 7, 0x5a);
    let isDone = false;
    let failure: Error | null = null;
    const owner = {
      readCompleted: (token: number, error: Error | null): void => {
        if (token !== 42) throw new Error(`read ${token} was not asked for`);
        isDone = true;
        failure = error;
      },
    };
    const at = volume.windowStart + start;
    const result = this.reader.read(volume.id, volume.file, at, length, bytes, 5, owner, 42);
    if (result === 'pending') await this.#wait(() => isDone);
    if (failure !== null) throw failure as Error;
    const outside = Buffer.concat([bytes.subarray(0, 5), bytes.subarray(5 + length)]);
    if (!outside.equals(Buffer.alloc(7, 0x5a))) throw new Error('a read wrote beside its place');
    return bytes.subarray(5, 5 + length);
  }

  /** The states of the extents of a range of the window, one for each block it touches. */
  states(volume: ModelVolume, start: number, length: number, extentsMax: number): number[] {
    const states: number[] = [];
    let at = start;
    while (at < start + length) {
      let taken = 0;
      let count = 0;
      const from = at;
      const rest = start + length - from;
      const { id, file, sizeBytes, windowStart } = volume;
      this.extents.list(id, file, sizeBytes, windowStart + from, rest, (extentBytes, state) => {
        if (count === extentsMax) return false;
        count += 1;
        if (extentBytes <= 0) throw new Error(`an extent of ${extentBytes} bytes`);
        for (let done = 0; done < extentBytes; ) {
          const inBlock = blockBytes - ((from + taken + done) % blockBytes);
          states[Math.floor((from + taken + done) / blockBytes) - Math.floor(start / blockBytes)] =
            state;
          done += Math.min(inBlock, extentBytes - done);
        }
        taken += extentBytes;
        return true;
      });
      if (taken === 0) throw new Error(`no extent at ${from}`);
      at += taken;
    }
    return states;
  }
}
