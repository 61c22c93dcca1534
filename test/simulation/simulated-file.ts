import type { FaultCounter } from './faults.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import { pageBytes, SparseImage } from './sparse-image.ts';
import { type Change, type ChangeKind, sectorBytes, WriteLog } from './write-log.ts';

const pageSectors = pageBytes / sectorBytes;
/** Past it the kernel writes back by itself; the oldest half then is on the device. */
const unsyncedBytesMax = 64 * 1024 * 1024;

const zeroes = new Uint8Array(pageBytes);

/** What of the unsynced changes of a file a power loss leaves: one of these, chosen for each file. */
const survivals = ['nothing', 'everything', 'sectors', 'changes', 'prefix'] as const;
type Survival = (typeof survivals)[number];

/**
 * A file of the simulated disk: what reads show (`cached`), what the device holds for sure
 * (`device`), and in between the changes that were not synced. The device may hold any of those
 * already, sector by sector, which a power loss decides.
 */
export class SimulatedFile {
  readonly isDirectory = false;
  readonly #cached: SparseImage;
  readonly #device: SparseImage;
  readonly #log = new WriteLog();
  /** Pages with sectors that a failed sync gave up on: bit per sector. Cached, clean, not on the device. */
  readonly #lostSectors = new Map<number, number>();

  constructor() {
    [this.#cached, this.#device] = SparseImage.pair();
  }

  get sizeBytes(): number {
    return this.#cached.sizeBytes;
  }

  get allocatedPages(): number {
    return this.#cached.allocatedPages;
  }

  get isSettled(): boolean {
    return this.#log.count === 0 && this.#lostSectors.size === 0;
  }

  /** Stands for everything changed so far: what a sync that begins now covers. */
  get changeNumber(): number {
    return this.#log.nextNumber;
  }

  read(bytes: Uint8Array, start: number, length: number, position: number): number {
    return this.#cached.read(bytes, start, length, position);
  }

  /** What the device shows: the kernel writes back what is dirty first, but not what it gave up on. */
  readDirect(bytes: Uint8Array, start: number, length: number, position: number): number {
    const count = this.#cached.read(bytes, start, length, position);
    for (const [index, mask] of this.#lostSectors) {
      for (let sector = 0; sector < pageSectors; sector++) {
        if ((mask & (1 << sector)) === 0) continue;
        const at = index * pageBytes + sector * sectorBytes;
        const first = Math.max(at, position);
        const end = Math.min(at + sectorBytes, position + count);
        if (first >= end) continue;
        const to = start + first - position;
        const held = this.#device.read(bytes, to, end - first, first);
        bytes.fill(0, to + held, to + end - first);
      }
    }
    return count;
  }

  /** Pages that a write of the range would have to allocate. */
  pagesNeeded(position: number, length: number): number {
    let needed = 0;
    const end = Math.ceil((position + length) / pageBytes);
    for (let index = Math.floor(position / pageBytes); index < end; index++) {
      if (!this.#cached.isAllocated(index)) needed++;
    }
    return needed;
  }

  write(bytes: Uint8Array, start: number, length: number, position: number): void {
    if (length === 0) return;
    const sizeBefore = this.#cached.sizeBytes;
    this.#cached.write(bytes, start, length, position);
    this.#cached.sizeBytes = Math.max(sizeBefore, position + length);
    const first = Math.floor(position / sectorBytes) * sectorBytes;
    const end = Math.ceil((position + length) / sectorBytes) * sectorBytes;
    const sizeAfter = this.#cached.sizeBytes;
    const change = this.#log.append('write', first, end - first, sizeBefore, sizeAfter);
    this.#copySectors(change);
    this.#notLost(change);
    if (this.#log.dataBytes > unsyncedBytesMax) this.#commit(this.#log.count >> 1);
  }

  /** Puts whole sectors into the log as the cache has them now; past the end they are zero. */
  #copySectors(change: Change): void {
    const bytes = this.#log.bytes;
    const { position, length, dataStart } = change;
    const count = this.#cached.read(bytes, dataStart, length, position);
    bytes.fill(0, dataStart + count, dataStart + length);
  }

  punch(position: number, length: number): void {
    const size = this.#cached.sizeBytes;
    if (position >= size) return;
    // The page that holds the end of the file goes as a whole where the range reaches past the end.
    let end = position + length;
    if (end >= size) end = Math.ceil(size / pageBytes) * pageBytes;
    this.#clear('punch', position, end);
  }

  zero(position: number, length: number): void {
    this.#clear('zero', position, position + length);
    this.preallocate(position, length);
  }

  /** Whole pages change in the file system's records; what is left at the edges is written as zeroes. */
  #clear(kind: 'punch' | 'zero', position: number, end: number): void {
    const firstWhole = Math.ceil(position / pageBytes) * pageBytes;
    const endWhole = Math.floor(end / pageBytes) * pageBytes;
    if (firstWhole > endWhole) {
      this.#writeZeroes(position, end);
      return;
    }
    this.#writeZeroes(position, firstWhole);
    this.#writeZeroes(endWhole, end);
    if (firstWhole === endWhole) return;
    this.#change(kind, firstWhole, endWhole - firstWhole, this.#cached.sizeBytes);
  }

  #writeZeroes(position: number, end: number): void {
    const index = Math.floor(position / pageBytes);
    if (position === end || this.#cached.page(index) === undefined) return;
    const size = this.#cached.sizeBytes;
    this.write(zeroes, 0, Math.min(end, Math.max(size, position)) - position, position);
  }

  preallocate(position: number, length: number): void {
    const sizeAfter = Math.max(this.#cached.sizeBytes, position + length);
    this.#change('preallocate', position, length, sizeAfter);
  }

  truncate(sizeBytes: number): void {
    const cut = Math.max(0, this.#cached.sizeBytes - sizeBytes);
    this.#change('truncate', sizeBytes, cut, sizeBytes);
  }

  #change(kind: ChangeKind, position: number, length: number, sizeAfter: number): void {
    const sizeBefore = this.#cached.sizeBytes;
    const change = this.#log.append(kind, position, length, sizeBefore, sizeAfter);
    applyTo(this.#cached, change, this.#log.bytes);
    this.#notLost(change);
  }

  nextData(position: number): number {
    return this.#cached.nextData(position);
  }

  nextHole(position: number): number {
    return this.#cached.nextHole(position);
  }

  reservedUntil(position: number, end: number): { isReserved: boolean; end: number } {
    return this.#cached.reservedUntil(position, end);
  }

  /** A sync that began when the next change had that number has succeeded. */
  synced(changeNumber: number): void {
    this.#commit(this.#log.countBefore(changeNumber));
  }

  #commit(count: number): void {
    if (count === 0) return;
    if (count === this.#log.count && this.#lostSectors.size === 0) {
      // The device then has what the cache has, wherever anything changed.
      for (let at = 0; at < count; at++) this.#share(this.#log.change(at));
      this.#device.sizeBytes = this.#cached.sizeBytes;
    } else {
      for (let at = 0; at < count; at++) {
        applyTo(this.#device, this.#log.change(at), this.#log.bytes);
      }
    }
    this.#log.shift(count);
  }

  #share({ kind, position, length }: Change): void {
    if (kind === 'truncate' && length === 0) return;
    const first = Math.floor(position / pageBytes);
    const end = Math.ceil((position + length) / pageBytes);
    this.#device.share(first, end);
  }

  /**
   * A sync that began at that number has failed. Some of what it covered is on the device; the rest
   * counts as clean from now on, so that no later sync writes it, and reads show it until the cache
   * is dropped.
   */
  syncFailed(changeNumber: number, random: SimulatedRandom): void {
    const count = this.#log.countBefore(changeNumber);
    const written = random.pick([0, 0.5, 0.9]);
    for (let at = 0; at < count; at++) {
      const change = this.#log.change(at);
      if (change.kind !== 'write') {
        applyTo(this.#device, change, this.#log.bytes);
        this.#notLost(change);
        continue;
      }
      for (let done = 0; done < change.length; done += sectorBytes) {
        const isWritten = random.chance(written);
        if (isWritten) this.#writeSector(change, done);
        this.#setSectorLost(change.position + done, !isWritten);
      }
      // The file system's own records are another matter: they are not lost with the data.
      if (change.sizeAfter > change.sizeBefore) {
        this.#device.sizeBytes = Math.max(this.#device.sizeBytes, change.sizeAfter);
      }
    }
    for (let at = count; at < this.#log.count; at++) this.#notLost(this.#log.change(at));
    if (count > 0) this.#log.shift(count);
  }

  #writeSector({ position, dataStart }: Change, done: number): void {
    this.#device.write(this.#log.bytes, dataStart + done, sectorBytes, position + done);
  }

  /** What is dirty again, or gone, is not lost. */
  #notLost({ kind, position, length }: Change): void {
    if (this.#lostSectors.size === 0 || kind === 'preallocate') return;
    const first = Math.floor(position / sectorBytes);
    const end = Math.ceil((position + length) / sectorBytes);
    for (const index of this.#lostSectors.keys()) {
      const from = Math.max(first, index * pageSectors);
      const to = Math.min(end, (index + 1) * pageSectors);
      for (let sector = from; sector < to; sector++)
        this.#setSectorLost(sector * sectorBytes, false);
    }
  }

  #setSectorLost(position: number, isLost: boolean): void {
    const index = Math.floor(position / pageBytes);
    const bit = 1 << (Math.floor(position / sectorBytes) % pageSectors);
    const before = this.#lostSectors.get(index) ?? 0;
    const after = isLost ? before | bit : before & ~bit;
    if (after === before) return;
    if (after === 0) this.#lostSectors.delete(index);
    else this.#lostSectors.set(index, after);
  }

  /** Memory pressure: what is clean is forgotten, and read from the device again. */
  dropCache(): void {
    const sector = new Uint8Array(sectorBytes);
    for (const [index, mask] of this.#lostSectors) {
      for (let at = 0; at < pageSectors; at++) {
        if ((mask & (1 << at)) === 0) continue;
        const position = index * pageBytes + at * sectorBytes;
        sector.fill(0);
        this.#device.read(sector, 0, sectorBytes, position);
        this.#cached.write(sector, 0, sectorBytes, position);
      }
    }
    this.#lostSectors.clear();
  }

  /** A bit of the device's contents in the range flips; false where it holds nothing there. */
  flipBit(position: number, length: number, random: SimulatedRandom): boolean {
    const end = Math.min(position + length, this.#device.sizeBytes);
    if (position >= end) return false;
    const at = position + random.int(end - position);
    const index = Math.floor(at / pageBytes);
    if (this.#device.page(index) === undefined) return false;
    this.#device.flipBit(index, (at % pageBytes) * 8 + random.int(8));
    return true;
  }

  /** Flips that bit (0 to 7) of the device's contents; what was never written there stays as it is. */
  flipBitAt(position: number, bit: number): void {
    const index = Math.floor(position / pageBytes);
    if (position >= this.#device.sizeBytes || this.#device.page(index) === undefined) return;
    this.#device.flipBit(index, (position % pageBytes) * 8 + bit);
  }

  /** Pages of which the device holds contents. */
  pagesOnDevice(): number[] {
    return this.#device.pagesWithContents();
  }

  /**
   * The power fails: the device keeps what chance wants of what was not synced. Sectors of writes in
   * any choice; other changes go through the file system's own journal and keep their order.
   */
  powerLost(random: SimulatedRandom, counter: FaultCounter): void {
    const survival = random.pick<Survival>(survivals);
    const probability = random.pick([0.1, 0.5, 0.9]);
    const prefix = random.int(this.#log.count + 1);
    const touched = new Set<number>(this.#lostSectors.keys());
    let hasLost = false;
    for (let at = 0; at < this.#log.count; at++) {
      const change = this.#log.change(at);
      this.#collectPages(change, touched);
      const isWrite = change.kind === 'write';
      let kept = 0;
      if (survival === 'everything') kept = 1;
      else if (survival === 'prefix' || (survival !== 'nothing' && !isWrite)) {
        kept = at < prefix ? 1 : at === prefix ? probability : 0;
      } else if (survival === 'changes') kept = random.chance(probability) ? 1 : 0;
      else if (survival === 'sectors') kept = probability;
      kept = this.#keep(change, kept, random);
      if (kept < 1) counter.count(isWrite ? 'write_lost' : 'allocation_lost');
      if (kept > 0 && kept < 1) counter.count('write_torn');
      if (kept > 0 && hasLost) counter.count('write_reordered');
      if (kept < 1) hasLost = true;
    }
    // Sectors of the last page may have come without the size that would show them.
    this.#device.dropAfter(this.#device.sizeBytes);
    this.#log.shift(this.#log.count);
    this.#lostSectors.clear();
    for (const index of touched) this.#cached.share(index, index + 1);
    this.#cached.sizeBytes = this.#device.sizeBytes;
  }

  #collectPages({ position, length }: Change, pages: Set<number>): void {
    const first = Math.floor(position / pageBytes);
    const end = Math.ceil((position + length) / pageBytes);
    const collect = (index: number): void => {
      pages.add(index);
    };
    this.#cached.forEachPage(first, end, collect);
    this.#device.forEachPage(first, end, collect);
  }

  /** Makes about `fraction` of a change on the device; returns what fraction it was. */
  #keep(change: Change, fraction: number, random: SimulatedRandom): number {
    const bytes = this.#log.bytes;
    if (fraction === 0) return 0;
    if (fraction === 1) {
      applyTo(this.#device, change, bytes);
      return 1;
    }
    const { kind, length, position, sizeBefore, sizeAfter } = change;
    if (kind === 'write') {
      let kept = 0;
      for (let done = 0; done < length; done += sectorBytes) {
        if (!random.chance(fraction)) continue;
        this.#writeSector(change, done);
        kept += sectorBytes;
      }
      if (sizeAfter > sizeBefore && random.chance(0.5)) {
        this.#device.sizeBytes = Math.max(this.#device.sizeBytes, sizeAfter);
      }
      return kept / length;
    }
    // Large ranges are changed in several steps, from the beginning on.
    const part = random.int(Math.floor(length / pageBytes) + 1) * pageBytes;
    if (kind === 'truncate' || part === 0 || part >= length) return 0;
    const grown = Math.max(sizeBefore, Math.min(sizeAfter, position + part));
    applyTo(this.#device, { ...change, length: part, sizeAfter: grown }, bytes);
    return part / length;
  }
}

/** Makes a change in one of the images. `bytes` are the log's. */
function applyTo(image: SparseImage, change: Change, bytes: Uint8Array): void {
  const { kind, position, length, sizeBefore, sizeAfter } = change;
  if (kind === 'write') image.write(bytes, change.dataStart, length, position);
  else if (kind === 'punch') image.punch(position, length);
  else if (kind === 'zero') image.zero(position, length);
  else if (kind === 'preallocate') image.preallocate(position, length);
  if (kind === 'truncate') image.truncate(sizeAfter);
  else if (sizeAfter > sizeBefore) image.sizeBytes = Math.max(image.sizeBytes, sizeAfter);
}
