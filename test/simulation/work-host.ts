import { must } from '../../src/platform/assert.ts';
import { errno } from '../../src/group/apply/export.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../../src/nbd/wire.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { GroupModel, RecordKind } from './group-model.ts';
import type { LedgerEntry } from './request-ledger.ts';
import {
  type HostOwner,
  type HostRefusal,
  type HostRequest,
  SimulatedHost,
} from './simulated-host.ts';
import { nbdAddress } from './simulated-daemon.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import type { JournalTap } from './journal-tap.ts';

/** How often a host does what, relative to each other. */
export interface Mix {
  readonly write: number;
  readonly fua: number;
  readonly flush: number;
  readonly trim: number;
  readonly zeroes: number;
  readonly read: number;
  readonly status: number;
  readonly cache: number;
}

export interface Workload {
  readonly mix: Mix;
  /** Bytes of a write; one of them each time. */
  readonly sizes: readonly number[];
  /** Bytes of a TRIM or WRITE_ZEROES, likewise; where not given, from 512 to 4 MiB. */
  readonly clearSizes?: readonly number[];
  /** Offsets are multiples of it; 1: any. */
  readonly alignment: number;
  /** Part of the volume that most writes go to. */
  readonly hotBytes: number;
  readonly depth: number;
}

export interface WorkSurroundings {
  readonly network: SimulatedNetwork;
  readonly tap: JournalTap;
  readonly report: (text: string) => void;
  readonly opened: () => void;
  /** An error that a host was told; the simulation knows whether it may be. */
  readonly failed: (host: WorkHost, request: HostRequest) => void;
  readonly count: (what: string) => void;
}

/** Bytes that no two writes have alike. */
const noise = new Uint8Array(4 * MiB);
const requestBytesMax = 1 * MiB;
const clearSizesDefault = [512, 4096, 5000, 64 * KiB, 1 * MiB, 4 * MiB];

export function fillNoise(random: SimulatedRandom): void {
  random.fill(noise, 0, noise.length);
}

/** A host at work on one export: it asks, and holds every answer against the model. */
export class WorkHost implements HostOwner {
  readonly group: string;
  readonly volume: string;
  readonly host: SimulatedHost;
  readonly #surroundings: WorkSurroundings;
  readonly #random: SimulatedRandom;
  readonly #workload: Workload;
  readonly #model: GroupModel;
  readonly #volumeId: number;
  readonly #journalOnly: boolean;
  /** What each request under way must at least show, or make safe. */
  readonly #floors = new Map<HostRequest, number>();
  #quota = 0;
  #byteQuota = 0;
  #isAbandoned = false;
  refusal: HostRefusal | undefined;
  /** The connection ended without having been told to. */
  isCut = false;

  constructor(
    surroundings: WorkSurroundings,
    random: SimulatedRandom,
    group: string,
    volume: string,
    workload: Workload,
    form: ReplyForm,
  ) {
    this.#surroundings = surroundings;
    this.#random = random;
    this.#workload = workload;
    this.group = group;
    this.volume = volume;
    this.#model = must(surroundings.tap.model(group), `there is a model of group ${group}`);
    const image = must(this.#model.current.find(volume), `volume ${group}/${volume} is known`);
    this.#volumeId = image.catalog.id;
    this.#journalOnly = image.catalog.journalOnly;
    const name = `${group}/${volume}`;
    this.host = SimulatedHost.connect(surroundings.network, nbdAddress, name, form, this);
  }

  get isIdle(): boolean {
    if (this.host.isClosed) return true;
    return this.host.isReady && this.#quota <= 0 && this.host.underWay === 0;
  }

  /** So many requests more, and about so many bytes. */
  work(requests: number, bytes: number): void {
    this.#quota = requests;
    this.#byteQuota = bytes;
    this.#pump();
  }

  /** The daemon is gone: answers on their way still count, nothing new is asked. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  /** Reads everything. */
  verify(): void {
    const stretch = this.#random.pick([64 * KiB, 1 * MiB, 100_000]);
    for (let at = 0; at < this.host.sizeBytes; at += stretch) {
      this.#issue(NBD_CMD_READ, 0, at, Math.min(stretch, this.host.sizeBytes - at));
    }
  }

  /** The oldest state that a read under way may still show. */
  get lowestFloor(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const floor of this.#floors.values()) lowest = Math.min(lowest, floor);
    return lowest;
  }

  get isJournalOnly(): boolean {
    return this.#journalOnly;
  }

  ready(): void {
    this.#surroundings.opened();
    this.#pump();
  }

  refused(refusal: HostRefusal): void {
    this.refusal = refusal;
  }

  disconnected(): void {
    this.isCut = true;
    this.#quota = 0;
  }

  #pump(): void {
    if (!this.host.isReady || this.#isAbandoned) return;
    while (this.#quota > 0 && this.host.underWay < this.#workload.depth) {
      this.#quota -= 1;
      this.#next();
      if (this.#byteQuota <= 0) this.#quota = 0;
    }
  }

  #next(): void {
    const { mix } = this.#workload;
    const random = this.#random;
    const weights = Object.entries(mix) as [keyof Mix, number][];
    let draw = random.fraction() * weights.reduce((sum, [, weight]) => sum + weight, 0);
    let what: keyof Mix = 'write';
    for (const [name, weight] of weights) {
      draw -= weight;
      what = name;
      if (draw < 0) break;
    }
    switch (what) {
      case 'flush':
        this.#issue(NBD_CMD_FLUSH, 0, 0, 0);
        return;
      case 'trim':
      case 'zeroes':
        this.#clear(what);
        return;
      case 'read':
      case 'status':
      case 'cache': {
        const [offset, length] = this.#range(random.pick([512, 4 * KiB, 64 * KiB, 300 * KiB]));
        if (length === 0) return;
        const types = { read: NBD_CMD_READ, status: NBD_CMD_BLOCK_STATUS, cache: NBD_CMD_CACHE };
        this.#issue(types[what], 0, offset, length);
        return;
      }
      default:
        this.#write(what === 'fua');
    }
  }

  #range(size: number): [number, number] {
    const { sizeBytes } = this.host;
    const { alignment, hotBytes } = this.#workload;
    const span = this.#random.chance(0.7) ? Math.min(sizeBytes, hotBytes) : sizeBytes;
    const offset = Math.floor(this.#random.int(span) / alignment) * alignment;
    return [offset, Math.min(size, sizeBytes - offset)];
  }

  #write(fua: boolean): void {
    const [offset, length] = this.#range(this.#random.pick(this.#workload.sizes));
    const from = this.#random.int(noise.length - requestBytesMax);
    const payload = noise.subarray(from, from + length);
    this.#byteQuota -= length;
    this.#issue(NBD_CMD_WRITE, fua ? NBD_CMD_FLAG_FUA : 0, offset, length, payload);
  }

  #clear(what: 'trim' | 'zeroes'): void {
    const random = this.#random;
    const [offset, length] = this.#range(
      random.pick(this.#workload.clearSizes ?? clearSizesDefault),
    );
    if (length === 0) return;
    const fua = random.chance(0.1) ? NBD_CMD_FLAG_FUA : 0;
    if (what === 'trim') this.#issue(NBD_CMD_TRIM, fua, offset, length);
    else {
      const hole = random.chance(0.5) ? NBD_CMD_FLAG_NO_HOLE : 0;
      this.#issue(NBD_CMD_WRITE_ZEROES, fua | hole, offset, length);
    }
  }

  #issue(type: number, flags: number, offset: number, length: number, payload?: Uint8Array): void {
    const request = this.host.issue(type, flags, offset, length, payload);
    this.#floors.set(request, type === NBD_CMD_FLUSH ? this.#model.answered : this.#model.newest);
    const kind = kindOf(request);
    if (!kind) return;
    const entry: LedgerEntry = {
      group: this.#model.groupId,
      volume: this.#volumeId,
      kind,
      offset,
      length,
      payload,
      request,
      recordedBytes: 0,
      lastNumber: 0,
    };
    this.#surroundings.tap.ledger.add(entry);
  }

  answered(request: HostRequest): void {
    const floor = must(this.#floors.get(request), 'every request has a floor');
    this.#floors.delete(request);
    const entry = this.#surroundings.tap.ledger.take(request);
    if (request.errno !== 0) {
      if (entry) this.#model.ghosts.push(entry);
      this.#failed(request);
    } else if (entry) this.#written(request, entry);
    else if (request.type === NBD_CMD_FLUSH) this.#flushed(floor);
    else if (request.type === NBD_CMD_READ) this.#read(request, floor);
    else if (request.type === NBD_CMD_BLOCK_STATUS) this.#status(request, floor);
    this.#pump();
  }

  #failed(request: HostRequest): void {
    if (request.type === NBD_CMD_BLOCK_STATUS && request.errno === errno.EINVAL) return;
    if (request.type === NBD_CMD_READ && this.#journalOnly && request.errno === errno.EIO) {
      this.#surroundings.count('error EIO of a journal-only read');
      return;
    }
    this.#surroundings.failed(this, request);
  }

  #written(request: HostRequest, entry: LedgerEntry): void {
    const { lastNumber, recordedBytes, length } = entry;
    const record = this.#model.record(lastNumber);
    const isAppended = record?.isWhole ?? lastNumber <= this.#model.base.number;
    if (recordedBytes !== length || !isAppended) {
      this.#surroundings.report(
        `${this.group}/${this.volume}: a ${entry.kind} of ${length} bytes at ${entry.offset} was answered, but ${recordedBytes} bytes of it were appended`,
      );
      return;
    }
    this.#model.answered = Math.max(this.#model.answered, lastNumber);
    if ((request.flags & NBD_CMD_FLAG_FUA) !== 0) this.#promise(lastNumber, 'FUA was answered for');
  }

  #promise(number: number, why: string): void {
    this.#model.proveDurable(number, why);
    this.#model.promised = Math.max(this.#model.promised, number);
  }

  #flushed(floor: number): void {
    this.#promise(floor, 'FLUSH was answered for');
  }

  #read(request: HostRequest, floor: number): void {
    const { offset, length } = request;
    const data = must(request.data, 'a READ has data');
    if (this.#model.explains(this.#volumeId, floor, this.#model.newest, offset, data)) return;
    this.#surroundings.report(
      `${this.group}/${this.volume}: READ of ${length} bytes at ${offset} shows what the volume held at no update from ${floor} to ${this.#model.newest}: ${this.#difference(request)}`,
    );
  }

  #difference(request: HostRequest): string {
    const data = must(request.data, 'a READ has data');
    const expected = this.#model.contents(
      this.#volumeId,
      this.#model.newest,
      request.offset,
      request.length,
    );
    let from = 0;
    while (from < data.length && data[from] === expected[from]) from += 1;
    let end = data.length;
    while (end > from && data[end - 1] === expected[end - 1]) end -= 1;
    const isZero = data.subarray(from, end).every((byte) => byte === 0);
    const shown = isZero ? 'zeroes' : 'other bytes';
    const [first, last] = [
      request.offset + from,
      Math.min(request.offset + from + 64, request.offset + end),
    ];
    const shownStart = data.subarray(from, from + (last - first));
    const versions = this.#model
      .numbersThatWrote(this.#volumeId, first)
      .filter((number) =>
        this.#model.contents(this.#volumeId, number, first, last - first).equals(shownStart),
      );
    return `${shown} from ${request.offset + from} to ${request.offset + end}, as of update ${versions.join(' or ') || 'none'}`;
  }

  #status(request: HostRequest, floor: number): void {
    let at = request.offset;
    for (const { length, state } of request.extents) {
      const end = Math.min(at + length, request.offset + request.length);
      const isZero = (state & 2) !== 0;
      if (isZero && end > at && !this.#journalOnly) {
        const zeroes = Buffer.alloc(end - at);
        if (!this.#model.explains(this.#volumeId, floor, this.#model.newest, at, zeroes)) {
          this.#surroundings.report(
            `${this.group}/${this.volume}: BLOCK_STATUS says ${at} to ${end} reads as zero, which it did at no update from ${floor} to ${this.#model.newest}`,
          );
        }
      }
      at += length;
    }
  }
}

function kindOf({ type, flags }: HostRequest): RecordKind | undefined {
  if (type === NBD_CMD_WRITE) return 'write';
  if (type === NBD_CMD_TRIM) return 'hole';
  if (type !== NBD_CMD_WRITE_ZEROES) return undefined;
  return (flags & NBD_CMD_FLAG_NO_HOLE) !== 0 ? 'zero' : 'hole';
}
