import { NbdClient } from '../../src/nbd/client.ts';
import { NBD_CMD_FLAG_FUA, NBD_CMD_READ, NBD_CMD_WRITE } from '../../src/nbd/wire.ts';
import type { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { sleep } from '../support/children.ts';
import { blockBytes, type BlockLedger } from './block-ledger.ts';

const readers = 2;

/**
 * Hosts on one volume: each writer has blocks of its own, writes the next one when the last was answered, some
 * with FUA; readers read any block on a connection of their own. It ends when the connections break.
 */
export class BlockLoad {
  readonly #ledger: BlockLedger;
  readonly #random: FuzzRandom;
  readonly #clients: readonly NbdClient[];
  readonly #working: Promise<void>[] = [];
  #isEnding = false;
  readonly findings: string[] = [];

  private constructor(ledger: BlockLedger, random: FuzzRandom, clients: readonly NbdClient[]) {
    this.#ledger = ledger;
    this.#random = random;
    this.#clients = clients;
  }

  static async begin(
    ledger: BlockLedger,
    random: FuzzRandom,
    uri: string,
    writers: number,
  ): Promise<BlockLoad> {
    const clients = [];
    for (let at = 0; at < 3; at += 1) clients.push(await NbdClient.connectUri(uri));
    const load = new BlockLoad(ledger, random, clients);
    const [first, second, third] = clients;
    for (let writer = 0; writer < writers; writer += 1) {
      const client = writer % 2 === 0 ? first : second;
      if (client) load.#working.push(load.#write(client, writer, writers));
    }
    for (let at = 0; at < readers; at += 1) if (third) load.#working.push(load.#read(third));
    return load;
  }

  /** Whoever still waits for an answer never gets one, unless it is on its way already. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.race([Promise.all(this.#working), sleep(50)]);
    for (const client of this.#clients) client.destroy();
    await Promise.all(this.#working);
  }

  async #write(client: NbdClient, writer: number, writers: number): Promise<void> {
    const own = Math.floor(this.#ledger.blocks / writers);
    while (!this.#isEnding) {
      const block = writer + writers * this.#random.below(own);
      const { version, payload } = this.#ledger.send(block);
      const flags = this.#random.chance(2) ? NBD_CMD_FLAG_FUA : 0;
      const request = { type: NBD_CMD_WRITE, flags, offset: block * blockBytes, payload };
      if (!(await this.#send(client, request))) return;
      this.#ledger.acknowledge(block, version);
    }
  }

  async #read(client: NbdClient): Promise<void> {
    while (!this.#isEnding) {
      const block = this.#random.below(this.#ledger.blocks);
      const least = this.#ledger.owedOf(block);
      const request = { type: NBD_CMD_READ, offset: block * blockBytes, length: blockBytes };
      const bytes = await this.#send(client, request);
      if (!bytes) return;
      const wrong = this.#ledger.showed(block, bytes, least);
      if (wrong !== undefined) this.findings.push(`a read: ${wrong}`);
    }
  }

  /** Undefined: refused, or the connection is gone. */
  async #send(
    client: NbdClient,
    request: Parameters<NbdClient['prepare']>[0],
  ): Promise<Buffer | undefined> {
    const { reply, head, body } = client.prepare(request);
    // A connection that is gone shows in the reply, too.
    client.stream.write(head, body).catch(() => undefined);
    try {
      const { errno, data } = await reply;
      return errno === 0 ? data : undefined;
    } catch {
      return undefined;
    }
  }
}
