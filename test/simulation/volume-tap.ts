import { KiB } from '../../src/platform/limits.ts';
import { mapStart } from '../../src/volume/area-layout.ts';
import type { EngineView } from './engine-view.ts';
import type { GroupModel } from './group-model.ts';
import type { DiskObserver } from './simulated-disk.ts';
import type { SimulatedFile } from './simulated-file.ts';
import type { SyncTracker } from './sync-tracker.ts';

type Written = Parameters<DiskObserver['written']>[1];

interface Batch {
  readonly batch: number;
  readonly contents: Buffer | undefined;
  /** Where the map of an area begins. */
  readonly mapFrom: number;
}

/** Watches every byte as it goes into a volume, and every checkpoint, and holds them against the journal. */
export class VolumeTap {
  readonly #model: (group: string) => GroupModel | undefined;
  readonly #syncs: SyncTracker;
  readonly #engine: EngineView;
  readonly #report: (text: string) => void;
  /** By volume file: of each batch the last change that it made. */
  readonly #batchEnds = new Map<
    SimulatedFile,
    { batch: number; changeNumber: number; path: string }[]
  >();

  constructor(
    model: (group: string) => GroupModel | undefined,
    syncs: SyncTracker,
    engine: EngineView,
    report: (text: string) => void,
  ) {
    this.#model = model;
    this.#syncs = syncs;
    this.#engine = engine;
    this.#report = report;
  }

  /** What the last life applied and made no checkpoint of, the next one applies again. */
  processEnded(): void {
    this.#batchEnds.clear();
  }

  cleared(file: SimulatedFile, path: string, position: number, length: number): void {
    const found = this.#batchOf(path);
    if (!found) return;
    this.#noteBatch(file, path, found.batch);
    const { contents } = found;
    if (!contents) return;
    const part = contents.subarray(position, position + length);
    if (isZero(part)) return;
    this.#report(
      `${path}: apply cleared ${length} bytes at ${position}, which are not all zero after update ${found.batch}`,
    );
  }

  /** Which batch a change of a volume belongs to, and what the volume is after that batch. */
  #batchOf(path: string): Batch | undefined {
    const { group, id } = volumeOf(path);
    const model = this.#model(group);
    const batch = this.#engine.batch(group);
    if (!model || batch === undefined) return undefined;
    const durable = this.#engine.durable(group) ?? 0;
    if (batch > durable) {
      this.#report(`group ${group}: update ${batch} is applied, but only ${durable} is durable`);
    }
    model.proveDurable(batch, 'apply is at');
    model.applyThrough(batch);
    const image = model.applied.volumes.get(id);
    const dataBytes = image?.catalog.preserves?.dataBytes;
    const mapFrom = dataBytes === undefined ? Number.POSITIVE_INFINITY : mapStart(dataBytes);
    return { batch, contents: image?.contents, mapFrom };
  }

  #noteBatch(file: SimulatedFile, path: string, batch: number): void {
    let ends = this.#batchEnds.get(file);
    if (!ends) {
      ends = [];
      this.#batchEnds.set(file, ends);
    }
    const { changeNumber } = file;
    if (ends.at(-1)?.batch === batch) ends.pop();
    ends.push({ batch, changeNumber, path });
  }

  written(file: SimulatedFile, write: Written): void {
    const found = this.#batchOf(write.path);
    if (!found) return;
    this.#noteBatch(file, write.path, found.batch);
    const { contents, mapFrom } = found;
    if (!contents) return;
    const { bytes, start, position, length } = write;
    // What a life before has marked stays marked while it is applied again.
    if (position >= mapFrom) return;
    const expected = contents.subarray(position, position + length);
    if (expected.length === length && expected.equals(bytes.subarray(start, start + length)))
      return;
    let at = 0;
    while (at < length && expected[at] === bytes[start + at]) at += 1;
    this.#report(
      `${write.path}: apply wrote ${length} bytes at ${position}; from ${position + at} on they are not what the volume holds after update ${found.batch}`,
    );
  }

  checkpointWritten(write: Written, group: string): void {
    const { bytes, start, path, isWhole } = write;
    if (!isWhole || write.length < 48) return;
    const applied = Buffer.from(bytes.buffer, bytes.byteOffset).readUIntLE(start + 40, 6);
    for (const [file, ends] of this.#batchEnds) {
      const mine = ends.filter((end) => end.path.startsWith(`${group}/`) && end.batch <= applied);
      const last = mine.at(-1);
      if (!last || !this.#engine.hasName(last.path, file)) continue;
      if (!this.#syncs.isDurable(file, last.changeNumber)) {
        this.#report(
          `${path}: the checkpoint says ${applied}, but what batch ${last.batch} wrote to ${last.path} was not synced`,
        );
      }
      const kept = ends.filter((end) => end.batch > applied);
      this.#batchEnds.set(file, kept);
    }
  }
}

const zeroes = Buffer.alloc(64 * KiB);

function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += zeroes.length) {
    const part = bytes.subarray(at, at + zeroes.length);
    if (part.compare(zeroes, 0, part.length) !== 0) return false;
  }
  return true;
}

function volumeOf(path: string): { group: string; id: number } {
  const match = /^\/data\/groups\/([^/]+)\/volumes\/(\d+)\.volume$/.exec(path);
  return { group: match?.[1] ?? '', id: Number(match?.[2] ?? 0) };
}
