import type { CatalogChange } from '../../src/group/catalog/catalog.ts';
import {
  type CatalogSnapshot,
  chainOf,
  changeSnapshots,
  livingSnapshots,
} from '../../src/group/catalog/snapshots.ts';
import { blockBytes } from '../../src/platform/limits.ts';
import { blocksOf, mapStart } from '../../src/volume/area-layout.ts';
import type { GroupImage, ModelRecord, VolumeImage } from './group-model.ts';

const zeroes = Buffer.alloc(blockBytes);

/** What the snapshots of a group were made of. */
export class SnapshotImages {
  list: readonly CatalogSnapshot[] = [];
  /** By number and volume; never changed once it is made. */
  readonly #contents = new Map<string, Buffer>();

  copy(): SnapshotImages {
    const copy = new SnapshotImages();
    copy.list = this.list;
    for (const [key, contents] of this.#contents) copy.#contents.set(key, contents);
    return copy;
  }

  contents(number: number, volume: number): Buffer | undefined {
    return this.#contents.get(`${number} ${volume}`);
  }

  /** `volumes` are as they were before. */
  change(
    volumes: ReadonlyMap<number, VolumeImage>,
    change: CatalogChange & { readonly change: 'snapshot_created' | 'snapshot_deleted' },
    number: number,
  ): void {
    this.list = changeSnapshots(this.list, change, number);
    if (change.change === 'snapshot_deleted') return;
    for (const { preserves } of change.areas) {
      const volume = volumes.get(preserves.volume);
      if (!volume) continue;
      volume.isShared = true;
      this.#contents.set(`${number} ${preserves.volume}`, volume.contents);
    }
  }
}

/** A record for an area sets the bits of its blocks. */
export function markBlocks({ catalog, contents }: VolumeImage, record: ModelRecord): void {
  const dataBytes = catalog.preserves?.dataBytes;
  if (dataBytes === undefined) return;
  for (const block of blocksIn(record, dataBytes)) {
    const at = mapStart(dataBytes) + (block >> 3);
    contents[at] = (contents[at] ?? 0) | (1 << (block & 7));
  }
}

/** What a record does that it must not, as far as snapshots go (SAFETY 28). `image` is without it. */
export function preservingProblem(image: GroupImage, record: ModelRecord): string | undefined {
  const volume = image.volumes.get(record.volume);
  const areas = image.snapshots.list.at(-1)?.areas ?? [];
  if (!volume || record.kind === 'catalog') return undefined;
  const what = `update ${record.number} (${record.kind} of ${record.length} bytes at ${record.offset} of volume ${record.volume})`;
  const { preserves } = volume.catalog;
  if (preserves) {
    const isNewest = areas.some(({ area }) => area === record.volume);
    if (!isNewest && !(record.kind === 'hole' && isSuperseded(image, record, preserves)))
      return `${what} is for an area that is not the newest one of volume ${preserves.volume}`;
    const live = image.volumes.get(preserves.volume);
    if (record.kind === 'hole' && isSuperseded(image, record, preserves)) return undefined;
    for (const block of blocksIn(record, preserves.dataBytes)) {
      if (isMarked(volume, block)) return `${what} preserves block ${block} once more`;
      const held = blockOf(live, block, preserves.dataBytes);
      if (!preservedOf(record, block).equals(held))
        return `${what} preserves block ${block} otherwise than it is`;
    }
    return undefined;
  }
  const own = areas.find((area) => area.volume === record.volume);
  const area = own && image.volumes.get(own.area);
  const kept = keptFrom(image, record.volume);
  if (!area || !kept) return undefined;
  for (const block of blocksIn(record, area.catalog.preserves?.dataBytes ?? 0)) {
    const isKept = kept.some((each) => isMarked(each, block));
    if (!isKept) return `${what} overwrites block ${block}, which was not preserved`;
  }
  return undefined;
}

/** Areas in which the newest living snapshot looks for blocks of the volume; undefined: it does not have it. */
function keptFrom(image: GroupImage, volume: number): VolumeImage[] | undefined {
  const { list } = image.snapshots;
  const newest = livingSnapshots(list).at(-1);
  const chain = newest ? chainOf(list, newest.number, volume) : undefined;
  return chain?.flatMap((area) => image.volumes.get(area) ?? []);
}

/** Every block of it is in an area between the next older living snapshot and the deleted one that gives it back. */
function isSuperseded(
  image: GroupImage,
  record: ModelRecord,
  { volume, dataBytes }: { readonly volume: number; readonly dataBytes: number },
): boolean {
  const { list } = image.snapshots;
  const own = list.findIndex(({ areas }) => areas.some(({ area }) => area === record.volume));
  if (list[own]?.isDeleted !== true) return false;
  const living = list.slice(0, own).findLastIndex(({ isDeleted }) => isDeleted !== true);
  const older = list
    .slice(Math.max(0, living), own)
    .flatMap(({ areas }) => areas.filter((area) => area.volume === volume))
    .flatMap(({ area }) => image.volumes.get(area) ?? []);
  for (const block of blocksIn(record, dataBytes))
    if (!older.some((area) => isMarked(area, block))) return false;
  return true;
}

function* blocksIn({ offset, length }: ModelRecord, dataBytes: number): Generator<number> {
  const end = Math.min(Math.ceil((offset + length) / blockBytes), blocksOf(dataBytes));
  for (let block = Math.floor(offset / blockBytes); block < end; block += 1) yield block;
}

function isMarked({ catalog, contents }: VolumeImage, block: number): boolean {
  const at = mapStart(catalog.preserves?.dataBytes ?? 0) + (block >> 3);
  return ((contents[at] ?? 0) & (1 << (block & 7))) !== 0;
}

/** With zeroes behind what the volume had when the snapshot was made. */
function blockOf(live: VolumeImage | undefined, block: number, dataBytes: number): Buffer {
  const bytes = Buffer.alloc(blockBytes);
  const end = Math.min((block + 1) * blockBytes, dataBytes);
  live?.contents.copy(bytes, 0, block * blockBytes, end);
  return bytes;
}

function preservedOf({ offset, payload }: ModelRecord, block: number): Buffer {
  if (!payload) return zeroes;
  const at = block * blockBytes - offset;
  return Buffer.from(payload.subarray(at, at + blockBytes));
}
