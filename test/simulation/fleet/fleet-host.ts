import type { ExportClient, ExportSession } from '../../../src/group/apply/export.ts';
import { stretchOf } from '../../../src/group/catalog/lineage.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, slabBytes, slabHeadroomBytes } from '../../../src/platform/limits.ts';
import type { Group } from '../../../src/group/order/group.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import type { FleetHistory } from './fleet-history.ts';

const headerBytes = 28;
/** Bytes that no two writes have alike. */
const noise = new Uint8Array(1024 * KiB);

export function fillNoise(random: SimulatedRandom): void {
  random.fill(noise, 0, noise.length);
}

export interface FleetWorkload {
  /** Bytes of a write, at most; multiples of 512. */
  readonly sizeBytesMax: number;
  /** Of a hundred, how many give zeroes or holes. */
  readonly clears: number;
}

/** A host on a volume of a primary: it writes what is admitted now, and waits for nothing. */
export class FleetHost implements ExportClient {
  readonly peer = '10.0.0.9:1';
  readonly volume: string;
  readonly #group: Group;
  readonly #history: FleetHistory;
  readonly #random: SimulatedRandom;
  readonly #session: ExportSession;
  writtenBytes = 0;
  #isParked = false;
  #isRevoked = false;
  /** It was told of an error. */
  failure = '';

  /** `open` throws where the volume is not for hosts. */
  constructor(
    parts: {
      readonly group: Group;
      readonly history: FleetHistory;
      readonly random: SimulatedRandom;
    },
    volume: string,
    open: (client: ExportClient) => ExportSession,
  ) {
    this.volume = volume;
    this.#group = parts.group;
    this.#history = parts.history;
    this.#random = parts.random;
    this.#session = open(this);
  }

  get isRevoked(): boolean {
    return this.#isRevoked;
  }
  get isParked(): boolean {
    return this.#isParked;
  }

  admitted(): void {
    this.#isParked = false;
  }
  durableReached(): void {}
  durableFailed(_from: number, _error: number, text: string): void {
    this.failure = text;
  }
  readCompleted(): void {}
  revoke(): void {
    this.#isRevoked = true;
  }

  /** FLUSH. */
  flush(): void {
    this.#session.requestDurable(this.#session.newest);
  }

  /** Up to so many records; returns how many were taken. */
  write(count: number, workload: FleetWorkload): number {
    let written = 0;
    while (written < count && !this.#isRevoked && !this.#isParked) {
      const taken = this.#fillSlab(count - written, workload);
      written += taken;
      if (taken === 0) break;
    }
    return written;
  }

  /** One run of records, in one slab. */
  #fillSlab(count: number, workload: FleetWorkload): number {
    const { slabs } = this.#session;
    const slab = slabs.take();
    if (!slab) return 0;
    let at = slabHeadroomBytes;
    let taken = 0;
    while (taken < count) {
      const isClear = this.#random.int(100) < workload.clears;
      const length = 512 * this.#random.between(1, workload.sizeBytesMax / 512);
      const payload = isClear ? 0 : length;
      if (at + headerBytes + payload > slabBytes) break;
      if (!this.#session.admit(payload + 64)) {
        this.#isParked = true;
        break;
      }
      const number = isClear ? this.#clear(slab, at, length) : this.#stamp(slab, at, length);
      if (number <= 0) {
        this.failure = this.#session.errorText;
        break;
      }
      at += headerBytes + payload;
      this.writtenBytes += payload;
      taken += 1;
    }
    const failure = this.#session.commitRun();
    if (failure !== 0) this.failure = this.#session.errorText;
    this.#session.retire(slab);
    return taken;
  }

  #stamp(slab: Slab, at: number, wanted: number): number {
    const { sizeBytes } = this.#session;
    const length = Math.min(wanted, sizeBytes);
    const offset = 512 * this.#random.int((sizeBytes - length) / 512 + 1);
    const from = this.#random.int(noise.length - length);
    const bytes = noise.subarray(from, from + length);
    slab.bytes.set(bytes, at + headerBytes);
    const number = this.#session.stampWrite(slab, at, headerBytes, offset, length);
    this.#note(number, offset, length, bytes);
    return number;
  }

  #clear(slab: Slab, at: number, wanted: number): number {
    const { sizeBytes } = this.#session;
    const length = Math.min(wanted * 4, sizeBytes);
    const offset = 512 * this.#random.int((sizeBytes - length) / 512 + 1);
    const effect = this.#random.chance(0.5) ? 'zero' : 'hole';
    const number = this.#session.stampRange(slab, at, headerBytes, effect, offset, length);
    this.#note(number, offset, length, undefined);
    return number;
  }

  /** Before it is appended: a process that dies meanwhile may leave it, or not. */
  #note(number: number, offset: number, length: number, bytes: Uint8Array | undefined): void {
    if (number <= 0) return;
    const { lineage, volumes } = this.#group.catalog;
    const stretch = must(stretchOf(lineage, number), 'a primary has a stretch');
    const { id } = must(
      volumes.find(({ name }) => name === this.volume),
      'the volume is in the catalog',
    );
    this.#history.write(stretch, { number, volume: id, offset, length, bytes });
  }

  close(): void {
    this.#session.close();
  }
}

type Slab = Parameters<ExportSession['stampWrite']>[0];
