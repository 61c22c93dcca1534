import type { PrivateStore } from '../../history/private-store.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes, MiB } from '../../platform/limits.ts';
import { SessionReader } from '../apply/session-reader.ts';
import type { Volume } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';
import { HostSession } from '../order/host-session.ts';
import type { ByteRange, TargetVolume } from './rollback-target.ts';

const pieceBytes = MiB;
const clearBytesMax = 64 * MiB;

/** What is done while others have their turn, before each piece; rejects where it is not wanted any more. */
export type Turn = (bytes: number) => Promise<void>;

/**
 * Puts every block of the volume into the store that is to hold something else than it does now, as what it is to hold.
 * No host writes to the volume meanwhile. Rejects with JnbdError, and system errors.
 */
export async function stageVolume(
  group: Group,
  volume: Volume,
  target: TargetVolume,
  store: PrivateStore,
  turn: Turn,
): Promise<void> {
  const comparison = new Comparison(group, volume, target, store, turn);
  try {
    for (const range of target.differing(volume.catalog.sizeBytes)) await comparison.run(range);
  } finally {
    comparison.close();
  }
}

/** So much is read for it on each side, at most. */
export function differingBytes(target: TargetVolume, sizeBytes: number): number {
  let bytes = 0;
  for (const { length } of target.differing(sizeBytes)) bytes += length;
  return bytes;
}

class Comparison {
  readonly #store: PrivateStore;
  readonly #turn: Turn;
  readonly #sizeBytes: number;
  readonly #now: SessionReader;
  readonly #then: SessionReader;
  readonly #nowBytes = Buffer.alloc(pieceBytes);
  readonly #thenBytes = Buffer.alloc(pieceBytes);

  constructor(group: Group, volume: Volume, target: TargetVolume, store: PrivateStore, turn: Turn) {
    this.#store = store;
    this.#turn = turn;
    this.#sizeBytes = volume.catalog.sizeBytes;
    this.#now = new SessionReader((client) => new HostSession(group, volume, client, true));
    this.#then = new SessionReader((client) => target.open(client));
  }

  async run({ offset, length }: ByteRange): Promise<void> {
    const end = Math.min(this.#sizeBytes, Math.ceil((offset + length) / blockBytes) * blockBytes);
    for (let at = Math.floor(offset / blockBytes) * blockBytes; at < end; ) {
      const nowZeroes = this.#now.zeroesThrough(at, end);
      const thenZeroes = this.#zeroesThen(at, end);
      const same = wholeBlocks(Math.min(nowZeroes, thenZeroes), at, end);
      if (same > at) {
        await this.#turn(0);
        at = same;
      } else {
        const zeroes = wholeBlocks(Math.min(thenZeroes, at + clearBytesMax), at, end);
        at = zeroes > at ? await this.#clear(at, zeroes) : await this.#compare(at, end);
      }
      await this.#admitted();
    }
  }

  close(): void {
    this.#now.close();
    this.#then.close();
  }

  /** What lies behind the end that the volume had then reads as zeroes. */
  #zeroesThen(at: number, end: number): number {
    const thenEnd = Math.min(end, this.#then.sizeBytes);
    const through = at >= thenEnd ? end : this.#then.zeroesThrough(at, thenEnd);
    return through === thenEnd ? end : through;
  }

  async #clear(at: number, end: number): Promise<number> {
    await this.#turn(0);
    this.#store.clear(true, at, end - at);
    return end;
  }

  async #compare(at: number, rangeEnd: number): Promise<number> {
    const end = Math.min(rangeEnd, at + pieceBytes);
    const length = end - at;
    const whole = Math.ceil(length / blockBytes) * blockBytes;
    await this.#turn(2 * length);
    this.#nowBytes.fill(0, length, whole);
    await this.#now.read(at, length, this.#nowBytes);
    const thenLength = Math.max(0, Math.min(end, this.#then.sizeBytes) - at);
    this.#thenBytes.fill(0, thenLength, whole);
    if (thenLength > 0) await this.#then.read(at, thenLength, this.#thenBytes);
    for (let start = 0; start < whole; start += blockBytes) {
      const stop = start + blockBytes;
      const isSame = this.#nowBytes.compare(this.#thenBytes, start, stop, start, stop) === 0;
      if (!isSame) this.#store.fill((at + start) / blockBytes, this.#thenBytes, start);
    }
    return end;
  }

  async #admitted(): Promise<void> {
    const store = this.#store;
    if (!store.admits(pieceBytes)) await store.settled();
    if (store.failure !== '') throw new JnbdError('write_failed', store.failure);
  }
}

/** The end of the last whole block of [at, through); `end` is that of what there is. */
function wholeBlocks(through: number, at: number, end: number): number {
  if (through >= end) return end;
  return Math.max(at, Math.floor(through / blockBytes) * blockBytes);
}
