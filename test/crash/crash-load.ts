import { errno as errorNumber } from '../../src/group/apply/export.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import {
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../../src/nbd/wire.ts';
import { messageOf } from '../../src/platform/errors.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import type { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { sleep } from '../support/children.ts';
import type { GroupLedger, Operation, OperationKind } from './group-ledger.ts';
import { sectorBytes, type UpdateContents, writeBytesMax } from './update-contents.ts';
import type { VolumeModel } from './volume-model.ts';

/** Far below a segment: the follower sees each record before its place is used again. */
const openBytesMax = 8 * MiB;
const placeTriesMax = 32;
const pollMilliseconds = 5;
/** Half of everything happens here, so that there is much to overwrite. */
const busyBytes = 1 * MiB;

const sizesBytes = {
  small: [512, 512, 1 * KiB, 4 * KiB, 4 * KiB, 4 * KiB, 8 * KiB],
  mixed: [512, 4 * KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, 1 * MiB],
  large: [64 * KiB, 256 * KiB, 1 * MiB, 1 * MiB],
};

/** One connection. */
interface Lane {
  readonly client: NbdClient;
  readonly group: GroupLedger;
  readonly volume: VolumeModel;
}

/** Drawn where it is not given. */
export interface LoadSettings {
  readonly isLoaded: (volume: VolumeModel) => boolean;
  readonly sizes: keyof typeof sizesBytes;
  /** Requests under way at a time. */
  readonly workers: number;
  /** False: nothing is flushed, and nothing written with FUA. */
  readonly syncs: boolean;
}

/** What all the loads of a run share: numbers of operations, a clock, and what to write. */
export interface LoadSources {
  readonly random: FuzzRandom;
  readonly contents: UpdateContents;
  /** One above the last operation, of all lives. */
  nextOperation: number;
  clock: number;
}

/**
 * Requests over several connections to every volume, many at a time: writes of 512 bytes to 1 MiB that
 * overlap, zeroes, trims, with FUA and without, flushes, and reads that have to make sense. Each worker
 * takes the next volume once the last one answered, so the order over the volumes of a group shows.
 */
export class CrashLoad {
  readonly #sources: LoadSources;
  readonly #lanes: Lane[] = [];
  readonly #workers: Promise<void>[] = [];
  readonly #settings: LoadSettings;
  readonly #poll: NodeJS.Timeout;
  #isEnding = false;
  #isStopping = false;
  acknowledged = 0;

  private constructor(
    sources: LoadSources,
    groups: readonly GroupLedger[],
    settings: LoadSettings,
  ) {
    this.#sources = sources;
    this.#settings = settings;
    this.#poll = setInterval(() => {
      for (const group of groups) group.poll();
    }, pollMilliseconds);
  }

  /** Connects to every wanted volume through each of the addresses, and begins. */
  static async begin(
    sources: LoadSources,
    groups: readonly GroupLedger[],
    addresses: readonly ListenAddress[],
    wanted: Partial<LoadSettings>,
  ): Promise<CrashLoad> {
    const { random } = sources;
    const load = new CrashLoad(sources, groups, {
      isLoaded: () => true,
      sizes: random.pick(['small', 'mixed', 'mixed', 'large']),
      workers: random.pick([2, 8, 24, 48]),
      syncs: true,
      ...wanted,
    });
    const { isLoaded, workers } = load.#settings;
    for (const group of groups) {
      for (const volume of [...group.volumes.values()].filter(isLoaded)) {
        for (const address of addresses) {
          const exportName = `${group.name}/${volume.name}`;
          const replyForm = random.pick(['simple', 'structured', 'extended'] as const);
          const client = await NbdClient.connect(address, { exportName, replyForm });
          load.#lanes.push({ client, group, volume });
        }
      }
    }
    for (let at = 0; at < workers; at += 1) load.#workers.push(load.#work());
    return load;
  }

  /** From now on connections may break and requests be refused. */
  expectEnd(): void {
    this.#isEnding = true;
  }

  /** Sends nothing more and waits for what is under way, answered or broken off. */
  async end(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#workers);
    clearInterval(this.#poll);
    for (const { client } of this.#lanes) client.destroy();
  }

  async #work(): Promise<void> {
    const { random } = this.#sources;
    while (!this.#isStopping) {
      const lane = random.pick(this.#lanes);
      if (!(await this.#hasRoom(lane.group))) return;
      try {
        await this.#request(lane);
      } catch (error) {
        if (this.#isEnding) return;
        const subject = `${lane.group.name}/${lane.volume.name}`;
        const what = 'a connection broke though nobody ended the daemon';
        lane.group.findings.push({ what, subject, found: messageOf(error) });
        return;
      }
    }
  }

  /** False: nothing more is to be sent. */
  async #hasRoom(group: GroupLedger): Promise<boolean> {
    while (group.openBytes > openBytesMax) {
      await sleep(pollMilliseconds);
      if (this.#isStopping || group.findings.length > 0) return false;
    }
    return !this.#isStopping && group.findings.length === 0;
  }

  #request(lane: Lane): Promise<unknown> {
    const { random } = this.#sources;
    const draw = random.below(100);
    const { syncs } = this.#settings;
    if (draw < 6 && syncs) return this.#send(lane, { type: NBD_CMD_FLUSH });
    if (draw < 10) return this.#read(lane);
    const fua = syncs && random.chance(8) ? NBD_CMD_FLAG_FUA : 0;
    if (draw < 16) return this.#change(lane, 'hole', NBD_CMD_TRIM, fua);
    if (draw < 20) return this.#change(lane, 'hole', NBD_CMD_WRITE_ZEROES, fua);
    const noHole = fua | NBD_CMD_FLAG_NO_HOLE;
    if (draw < 22) {
      return this.#change(lane, 'zero', NBD_CMD_WRITE_ZEROES, noHole | NBD_CMD_FLAG_FAST_ZERO);
    }
    if (draw < 24) return this.#change(lane, 'zero', NBD_CMD_WRITE_ZEROES, noHole);
    return this.#change(lane, 'write', NBD_CMD_WRITE, fua);
  }

  /** Offset and length of the next operation, in whole sectors. */
  #place(lane: Lane): [offset: number, length: number] {
    const { random } = this.#sources;
    const { sizeBytes } = lane.client;
    const length = Math.min(
      random.pick(sizesBytes[this.#settings.sizes]),
      sizeBytes,
      writeBytesMax,
    );
    const room = random.chance(2) ? Math.min(busyBytes, sizeBytes - length) : sizeBytes - length;
    // Every second one as filesystems do, the others anywhere.
    const step = random.chance(2) ? 4 * KiB : sectorBytes;
    return [random.below(Math.floor(room / step) + 1) * step, length];
  }

  /**
   * Nothing in a record tells two ranges from each other that are alike and under way at once, and
   * taking one for the other makes an order of clients that was never broken look broken. Undefined: a
   * small volume has no other place.
   */
  #placeOf(lane: Lane, kind: OperationKind): [offset: number, length: number] | undefined {
    for (let tries = 0; tries < placeTriesMax; tries += 1) {
      const [offset, length] = this.#place(lane);
      if (!lane.group.hasOpenRange(kind, lane.volume, offset, length)) return [offset, length];
    }
    return undefined;
  }

  async #change(lane: Lane, kind: OperationKind, type: number, flags: number): Promise<void> {
    const { contents } = this.#sources;
    const { group, volume } = lane;
    const place = this.#placeOf(lane, kind);
    if (!place) return this.#change(lane, 'write', NBD_CMD_WRITE, flags & NBD_CMD_FLAG_FUA);
    const [offset, length] = place;
    const id = this.#sources.nextOperation++;
    const operation: Operation = {
      id,
      kind,
      volume,
      offset,
      length,
      payload: kind === 'write' ? contents.make(id, volume.key, offset, length) : undefined,
      sentAt: this.#sources.clock++,
      acknowledgedAt: Infinity,
      seenBytes: 0,
    };
    group.sent(operation);
    const { payload } = operation;
    const request = { type, flags, offset, ...(payload ? { payload } : { length }) };
    await this.#send(lane, request, () => {
      operation.acknowledgedAt = this.#sources.clock++;
    });
  }

  /** What is read is as new as what was known when it was asked for, or newer. */
  async #read(lane: Lane): Promise<void> {
    const { volume, group } = lane;
    const [offset, length] = this.#place(lane);
    const known = volume.updatesOf(offset, length);
    const bytes = await this.#send(lane, { type: NBD_CMD_READ, offset, length });
    group.checkRead(volume, offset, bytes, known);
  }

  /** Resolves with what was read once it is answered or refused; rejects when the connection breaks. */
  async #send(
    lane: Lane,
    request: Parameters<NbdClient['prepare']>[0],
    acknowledged: () => void = () => undefined,
  ): Promise<Buffer> {
    const { client, group, volume } = lane;
    const { reply, head, body } = client.prepare(request);
    // A connection that is gone shows in the reply, too.
    client.stream.write(head, body).catch(() => undefined);
    const { errno, text, data } = await reply;
    if (errno === 0) {
      acknowledged();
      this.acknowledged += 1;
      return data;
    }
    if (!(this.#isEnding && errno === errorNumber.ESHUTDOWN)) {
      const found = `error ${errno} ${text}`;
      const subject = `${group.name}/${volume.name}`;
      group.findings.push({ what: 'a request was refused', subject, found });
    }
    return Buffer.alloc(0);
  }
}
