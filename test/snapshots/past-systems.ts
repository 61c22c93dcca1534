import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, onTestFinished } from 'vitest';
import { ControlClient } from '../../src/control/client.ts';
import type { GroupStatus } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { until } from '../support/children.ts';
import type { Daemon } from '../support/daemon.ts';
import { systemsOf } from '../support/systems.ts';
import { RecordedHistory } from './recorded-history.ts';

export const volumesBytes = { v: 4 * MiB, w: MiB + 512 } as const;

/** Against what hangs: on a busy machine a start alone takes seconds. */
const waitSeconds = 90;
const readBytes = MiB;
const depth = 4;
const sectorBytes = 512;
const writeBytesMax = 32 * KiB;

/** A daemon, the built program, that has group g, or is to have it. */
export class PastSystem {
  readonly name: string;
  readonly daemon: Daemon;
  readonly control: ControlClient;

  constructor(name: string, daemon: Daemon) {
    this.name = name;
    this.daemon = daemon;
    this.control = new ControlClient({ kind: 'directory', directory: daemon.dataDirectory });
  }

  /** A new group of these volumes, by name. */
  async createGroup(
    journalSize: string,
    volumes: Record<string, number>,
    ...settings: string[]
  ): Promise<void> {
    const { daemon } = this;
    await daemon.client('group', 'create', 'g', '--journal-size', journalSize);
    if (settings.length > 0) await daemon.client('group', 'configure', 'g', ...settings);
    for (const [volume, bytes] of Object.entries(volumes))
      await daemon.client('volume', 'create', `g/${volume}`, '--size', String(bytes));
  }

  volumePath(id: number): string {
    const file = `${String(id).padStart(4, '0')}.volume`;
    return join(this.daemon.dataDirectory, 'groups/g/volumes', file);
  }

  async follow(source: PastSystem, ...options: string[]): Promise<void> {
    const url = `http://127.0.0.1:${source.daemon.listenPort}`;
    await this.daemon.client('follow', 'g', '--from', url, ...options);
  }

  async status(): Promise<GroupStatus> {
    return must((await this.control.status()).groups[0], `${this.name} has a group`);
  }

  /** It has all that its source had, and kept. */
  async synced(): Promise<void> {
    await this.daemon.client('wait', 'g', '--for', 'synced', '--timeout', `${waitSeconds}s`);
  }

  /** Everything up to `number` is in the volumes here, and hosts may read them and their snapshots. */
  async applied(number: number): Promise<void> {
    let last = '';
    await until(
      () => `${this.name} has not applied update ${number}: ${last}`,
      waitSeconds,
      async () => {
        const { state, watermarks, upstream, conditions, volumes, snapshots } = await this.status();
        last = JSON.stringify({ state, watermarks, upstream, conditions });
        const kept = snapshots.filter((each) => each.state === 'normal');
        const read = [...volumes, ...kept.flatMap((snapshot) => snapshot.volumes)];
        const isServed = volumes.length > 0 && read.every((each) => each.exports.length > 0);
        return state === 'normal' && isServed && watermarks.applied >= number;
      },
    );
  }

  /** The view is there; after a start what it needs is read first. */
  async shows(view: string): Promise<void> {
    let last = '';
    await until(
      () => `${this.name} does not show g@${view}: ${last}`,
      waitSeconds,
      async () => {
        const { views } = await this.status();
        last = JSON.stringify(views);
        return views.some(({ name, state }) => name === view && state === 'open');
      },
    );
  }

  /** Whatever it was doing. */
  async restart(): Promise<void> {
    await this.daemon.kill();
    await this.daemon.start();
  }

  /** All of an export: g/VOLUME, or g/VOLUME@NAME. */
  async contents(name: string): Promise<Buffer> {
    const client = await NbdClient.connectUri(this.daemon.uri(encodeURIComponent(name)));
    try {
      const parts: Buffer[] = [];
      for (let at = 0; at < client.sizeBytes; at += readBytes)
        parts.push(await client.read(at, Math.min(readBytes, client.sizeBytes - at)));
      return Buffer.concat(parts);
    } finally {
      await client.close();
    }
  }
}

/** The systems of a test. */
export interface PastSystems {
  /** In the order in which they were started. */
  readonly all: readonly PastSystem[];
  readonly start: (name: string) => Promise<PastSystem>;
}

/** They are new ones for each test of the file. */
export function pastSystemsOf(topic: string): PastSystems {
  const startDaemon = systemsOf(topic);
  const all: PastSystem[] = [];
  afterEach(() => {
    all.length = 0;
  });
  const start = async (name: string): Promise<PastSystem> => {
    const system = new PastSystem(name, await startDaemon(name));
    all.push(system);
    return system;
  };
  return { all, start };
}

/** What the journal of a primary says, to the end of the test. */
export function historyOf({ daemon }: PastSystem): RecordedHistory {
  const history = new RecordedHistory(join(daemon.dataDirectory, 'groups/g/journal'));
  onTestFinished(() => history.close());
  return history;
}

/** Hosts of both volumes that write, zero and trim at random, until they are to end or their connection does. */
export class PastLoad {
  readonly #random: FuzzRandom;
  readonly #clients: readonly NbdClient[];
  readonly #pauseMilliseconds: number;
  #isOver = false;
  readonly #ended: Promise<unknown>;
  operations = 0;

  private constructor(
    random: FuzzRandom,
    clients: readonly NbdClient[],
    pauseMilliseconds: number,
  ) {
    this.#random = random;
    this.#clients = clients;
    this.#pauseMilliseconds = pauseMilliseconds;
    this.#ended = Promise.all(
      clients.flatMap((client) => Array.from({ length: depth }, () => this.#write(client))),
    );
  }

  /** `pauseMilliseconds`: behind each operation, where the journal is to hold all of it. */
  static async begin(
    random: FuzzRandom,
    { daemon }: PastSystem,
    pauseMilliseconds = 0,
  ): Promise<PastLoad> {
    const names = Object.keys(volumesBytes);
    const clients = await Promise.all(
      names.map((volume) => NbdClient.connectUri(daemon.uri(`g/${volume}`))),
    );
    return new PastLoad(random, clients, pauseMilliseconds);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#ended;
    for (const client of this.#clients) await client.close().catch(() => undefined);
  }

  async #write(client: NbdClient): Promise<void> {
    const random = this.#random;
    const sectors = client.sizeBytes / sectorBytes;
    try {
      while (!this.#isOver) {
        // Most of it again and again, so that blocks are kept by several instants.
        const first = random.below(random.chance(4) ? sectors : Math.ceil(sectors / 8));
        const most = Math.min(sectors - first, writeBytesMax / sectorBytes);
        const length = (1 + random.below(most)) * sectorBytes;
        const offset = first * sectorBytes;
        const kind = random.below(12);
        if (kind === 0) await client.trim(offset, length);
        else if (kind === 1) await client.writeZeroes(offset, length);
        else await client.write(offset, random.bytes(length), { fua: kind === 2 });
        this.operations += 1;
        if (this.#pauseMilliseconds > 0) await sleep(this.#pauseMilliseconds);
      }
    } catch {
      // The daemon was killed: that is what these tests do.
      this.#isOver = true;
    }
  }
}
