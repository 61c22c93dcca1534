import { NbdClient } from '../../src/nbd/client.ts';
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../../src/nbd/wire.ts';
import { must } from '../../src/platform/assert.ts';
import { sleep } from '../support/children.ts';
import type { Daemon } from '../support/daemon.ts';

const sectorBytes = 512;
/** The daemons share the processors with whoever tests them. */
const pauseMilliseconds = 2;
/** Written on both volumes in turn, each time after the other one was answered. */
const turnOffset = 0;
/** On the second volume: what a host read of the first one. */
const readOffset = 4096;

/** A host's volume: a write is repeated until it is answered, also after its daemon died. */
class HostVolume {
  readonly #uri: string;
  #client: NbdClient | undefined;
  isEnding = false;

  constructor(uri: string) {
    this.#uri = uri;
  }

  /** False: there is no answer any more. */
  async write(offset: number, value: number): Promise<boolean> {
    const payload = Buffer.alloc(sectorBytes);
    payload.writeUInt32LE(value, 0);
    const written = await this.#answered({ type: NBD_CMD_WRITE, offset, payload });
    return written !== undefined;
  }

  async read(offset: number): Promise<number | undefined> {
    const bytes = await this.#answered({ type: NBD_CMD_READ, offset, length: sectorBytes });
    return bytes?.readUInt32LE(0);
  }

  /** Whoever waits for an answer gets none. */
  end(): void {
    this.isEnding = true;
    this.#client?.destroy();
  }

  async #answered(request: Parameters<NbdClient['prepare']>[0]): Promise<Buffer | undefined> {
    while (!this.isEnding) {
      try {
        this.#client ??= await NbdClient.connectUri(this.#uri);
        const { reply, head, body } = this.#client.prepare(request);
        // A connection that is gone shows in the reply, too.
        this.#client.stream.write(head, body).catch(() => undefined);
        const { errno, data } = await reply;
        if (errno === 0) return data;
      } catch {
        this.#client?.destroy();
        this.#client = undefined;
      }
      await sleep(20);
    }
    return undefined;
  }
}

/**
 * Hosts of two systems that depend on each other: one writes on both in turn; another one reads what the first
 * system shows, and writes it on the second.
 */
export class DependentLoad {
  readonly #volumes: readonly HostVolume[];
  readonly #working: Promise<void>[];
  /** The newest value that was answered on both. */
  acknowledged: number;

  constructor(first: Daemon, second: Daemon, from: number) {
    this.acknowledged = from;
    const volumes = [first.uri('a/v'), second.uri('b/v'), first.uri('a/v'), second.uri('b/v')].map(
      (uri) => new HostVolume(uri),
    );
    this.#volumes = volumes;
    const [a, b, shown, copied] = volumes.map((volume) => must(volume, 'a volume'));
    this.#working = [
      this.#writeInTurn(must(a, 'a'), must(b, 'b')),
      this.#copyWhatIsShown(must(shown, 'a'), must(copied, 'b')),
    ];
  }

  async end(): Promise<void> {
    for (const volume of this.#volumes) volume.end();
    await Promise.all(this.#working);
  }

  async #writeInTurn(a: HostVolume, b: HostVolume): Promise<void> {
    for (let value = this.acknowledged + 1; ; value += 1) {
      if (!(await a.write(turnOffset, value)) || !(await b.write(turnOffset, value))) return;
      this.acknowledged = value;
      await sleep(pauseMilliseconds);
    }
  }

  async #copyWhatIsShown(a: HostVolume, b: HostVolume): Promise<void> {
    let last = 0;
    for (;;) {
      const value = await a.read(turnOffset);
      if (value === undefined) return;
      if (value > last && !(await b.write(readOffset, value))) return;
      last = value;
      await sleep(pauseMilliseconds);
    }
  }
}

/** What two copies hold: on each the newest value of the writes in turn, and on the second what was read. */
export interface HeldValues {
  readonly a: number;
  readonly b: number;
  readonly read: number;
}

export async function heldValues(first: Daemon, second: Daemon): Promise<HeldValues> {
  const [a, b] = [new HostVolume(first.uri('a/v')), new HostVolume(second.uri('b/v'))];
  const values = {
    a: must(await a.read(turnOffset), 'it reads'),
    b: must(await b.read(turnOffset), 'it reads'),
    read: must(await b.read(readOffset), 'it reads'),
  };
  a.end();
  b.end();
  return values;
}

/** What is wrong with two copies, or empty: a write without the one that it was issued after. */
export function findMissing({ a, b, read }: HeldValues): string {
  if (a !== b && a !== b + 1) return `the first has write ${a}, the second write ${b}`;
  return read > a ? `the second has ${read}, which was read on the first, and that has ${a}` : '';
}
