import { join } from 'node:path';
import {
  type GroupStatus,
  type Status,
  status as statusSchema,
} from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { blockBytes } from './block-ledger.ts';

export const volumePath = 'g/v';
const waitSeconds = 60;

export interface SyncSettings {
  readonly onLoss: 'degrade' | 'stall';
  readonly timeoutMilliseconds: number;
  readonly blocks: number;
}

export async function groupOf(daemon: Daemon): Promise<GroupStatus> {
  const { body } = await daemon.get('/status');
  const status: Status = statusSchema.parse(JSON.parse(body));
  return must(status.groups[0], 'there is a group');
}

export function listenUrl(daemon: Daemon): string {
  return `http://127.0.0.1:${daemon.listenPort}`;
}

export function start(directory: string, name: string): Promise<Daemon> {
  return Daemon.start({ dataDirectory: join(directory, name), arguments: ['--name', name] });
}

/** Hosts wait for a follower that is in step. */
export async function untilProtected(primary: Daemon): Promise<void> {
  await until(
    () => 'hosts do not wait for the follower',
    waitSeconds,
    async () => {
      const { synchronous, secondaries } = await groupOf(primary);
      return (
        synchronous.state === 'protected' &&
        secondaries.some((each) => each.synchronous === 'in-step')
      );
    },
  );
}

export async function wholeVolume(daemon: Daemon, blocks: number): Promise<Buffer> {
  const client = await NbdClient.connectUri(daemon.uri(volumePath));
  const contents = await client.read(0, blocks * blockBytes);
  await client.close();
  return contents;
}

/** Two systems, one of which follows the other synchronously; they may change their roles. */
export class SyncPair {
  primary: Daemon;
  follower: Daemon;

  private constructor(primary: Daemon, follower: Daemon) {
    this.primary = primary;
    this.follower = follower;
  }

  /** Resolves when hosts wait for the follower. */
  static async create(directory: string, settings: SyncSettings): Promise<SyncPair> {
    const pair = new SyncPair(await start(directory, 'first'), await start(directory, 'second'));
    const { primary, follower } = pair;
    try {
      await primary.client('group', 'create', 'g', '--journal-size', '64MiB');
      const size = String(settings.blocks * blockBytes);
      await primary.client('volume', 'create', volumePath, '--size', size);
      await follower.client('follow', 'g', '--from', listenUrl(primary), '--sync');
      await pair.configure(settings);
      await untilProtected(primary);
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  /** Of the primary: another one has its own. */
  async configure({ onLoss, timeoutMilliseconds }: SyncSettings): Promise<void> {
    const timeout = `${timeoutMilliseconds}ms`;
    const options = ['--on-sync-loss', onLoss, '--sync-timeout', timeout];
    await this.primary.client('group', 'configure', 'g', ...options);
  }

  /** The follower takes over, whatever it knows. */
  async promote(): Promise<void> {
    await this.follower.client('promote', 'g', '--force');
    [this.primary, this.follower] = [this.follower, this.primary];
  }

  /** The old primary follows the new one; resolves when hosts wait for it. */
  async rejoin(): Promise<void> {
    if (this.follower.pid === 0) await this.follower.start();
    await this.follower.client(
      'follow',
      'g',
      '--from',
      listenUrl(this.primary),
      '--rewind',
      '--compare',
      '--sync',
    );
    await untilProtected(this.primary);
  }

  async close(): Promise<void> {
    for (const daemon of [this.primary, this.follower]) await daemon.kill();
  }
}
