import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ControlClient } from '../../src/control/client.ts';
import type { Input, Result } from '../../src/control/schema.ts';
import type { GroupStatus } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { sleep, until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';

const MiB = 1024 * 1024;
export const volumeBytes = 8 * MiB;

export type Verified = Result<'verify'>;

/** A primary and its follower, with a snapshot and contents. */
export class VerifiedPair {
  readonly first: Daemon;
  readonly second: Daemon;

  private constructor(first: Daemon, second: Daemon) {
    this.first = first;
    this.second = second;
  }

  static async create(directory: string): Promise<VerifiedPair> {
    const start = (name: string): Promise<Daemon> =>
      Daemon.start({ dataDirectory: join(directory, name), arguments: ['--name', name] });
    const pair = new VerifiedPair(await start('first'), await start('second'));
    try {
      const { first, second } = pair;
      await first.client('group', 'create', 'g', '--journal-size', '128MiB');
      await first.client('volume', 'create', 'g/v', '--size', String(volumeBytes));
      await first.client('volume', 'create', 'g/w', '--size', String(MiB + 512));
      await second.client('follow', 'g', '--from', `http://127.0.0.1:${first.listenPort}`);
      await pair.fill('g/v', 0, volumeBytes / 2, 1);
      await pair.fill('g/w', 0, MiB + 512, 2);
      await first.client('snapshot', 'create', 'g@one');
      await pair.fill('g/v', 0, MiB, 3);
      await pair.applied();
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.first.kill();
    await this.second.kill();
  }

  async fill(name: string, offset: number, length: number, seed: number): Promise<void> {
    const client = await NbdClient.connectUri(this.first.uri(name));
    const bytes = Buffer.alloc(length);
    for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE((at * 31 + seed) >>> 0, at);
    for (let at = 0; at < length; at += MiB)
      await client.write(offset + at, bytes.subarray(at, Math.min(length, at + MiB)));
    await client.flush();
    await client.close();
  }

  /** Both have everything in their volumes. */
  async applied(): Promise<void> {
    const { newest } = (await status(this.first)).watermarks;
    for (const daemon of [this.first, this.second]) {
      await until(
        () => `update ${newest} is not applied`,
        60,
        async () => (await status(daemon)).watermarks.applied >= newest,
      );
    }
  }

  /** Until it says so: a repair goes on behind the command. */
  async untilSame(daemon: Daemon, wish: VerifyInput = {}): Promise<void> {
    let last: unknown;
    await until(
      () => `it is not the same: ${JSON.stringify(last)}`,
      60,
      async () => {
        last = await verify(daemon, wish).catch((error: Error) => error.message);
        await sleep(50);
        return (last as Partial<Verified>).result === 'same';
      },
    );
  }
}

export type VerifyInput = Omit<Input<'verify'>, 'group'>;

function clientOf({ dataDirectory }: Daemon): ControlClient {
  return new ControlClient({ kind: 'directory', directory: dataDirectory });
}

export async function status(daemon: Daemon): Promise<GroupStatus> {
  return must((await clientOf(daemon).status()).groups[0], 'there is a group');
}

export function verify(daemon: Daemon, wish: VerifyInput = {}): Promise<Verified> {
  return clientOf(daemon).change('verify', { group: 'g', ...wish });
}

/** One bit, past the daemon. Done twice it is as it was. */
export function flipBit(path: string, at: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 4;
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
}

export function volumeFile(daemon: Daemon, id: number): string {
  return join(daemon.dataDirectory, 'groups/g/volumes', `${String(id).padStart(4, '0')}.volume`);
}

/** Whether the group has one that was made to compare. */
export function hasHidden(daemon: Daemon): boolean {
  return readFileSync(join(daemon.dataDirectory, 'groups/g/catalog'), 'utf8').includes('.verify-');
}
