import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runChecked, until } from '../test/support/children.ts';
import { Daemon } from '../test/support/daemon.ts';
import { type NbdServer, peer, type PeerName } from '../test/support/peers.ts';
import { requireProgram } from '../test/support/tools.ts';

export const peerNames: readonly PeerName[] = ['nbdkit', 'qemu-nbd', 'nbd-server'];
export const ownName = 'jnbd';

/** A server in the race, over a volume that was written once. */
export interface Contestant {
  readonly name: string;
  readonly server: NbdServer;
  readonly uri: string;
  /** The file that holds the volume. */
  readonly file: string;
  readonly preSharedKeyFile: string | undefined;
  /** Waits until all that was written is in that file. Others write nowhere else. */
  settled(): Promise<void>;
  /** Writes of a row beyond this need not be waited for: its cost is in the row already. */
  readonly settledBeyondBytes: number;
}

export interface VolumePlan {
  readonly directory: string;
  readonly sizeBytes: number;
  readonly preSharedKeyFile: string;
}

/** The one file that all other servers serve, one at a time, random bytes from end to end. */
export async function writePeersVolume(plan: VolumePlan): Promise<string> {
  const file = join(plan.directory, 'peers-volume');
  await runChecked(
    'dd',
    [
      ['if=/dev/urandom', `of=${file}`, 'bs=1M', 'iflag=fullblock', 'conv=fsync'],
      `count=${plan.sizeBytes / 1024 / 1024}`,
    ].flat(),
    { timeoutSeconds: 1800 },
  );
  return file;
}

export async function startPeer(
  name: PeerName,
  file: string,
  preSharedKeyFile?: string,
): Promise<Contestant> {
  const server = await peer(name, {
    file,
    ...(preSharedKeyFile === undefined ? {} : { preSharedKeyFile }),
  });
  await server.start();
  return {
    name,
    server,
    uri: encrypted(server.uri(), preSharedKeyFile),
    file,
    preSharedKeyFile,
    settled: () => Promise.resolve(),
    settledBeyondBytes: 0,
  };
}

/** The user in the key file is `bench`. */
function encrypted(uri: string, preSharedKeyFile: string | undefined): string {
  return preSharedKeyFile === undefined ? uri : uri.replace('nbd://', 'nbds://bench@');
}

interface Status {
  readonly groups: readonly {
    readonly watermarks: { readonly applied: number; readonly newest: number };
    readonly journal: { readonly capacityBytes: number };
  }[];
}

async function groupStatus(daemon: Daemon): Promise<Status['groups'][number]> {
  const { body } = await daemon.get('/status');
  const group = (JSON.parse(body) as Status).groups[0];
  if (!group) throw new Error('status names no group');
  return group;
}

/** Our daemon with its defaults, plain or, as long as it is asked for, encrypted. */
export class Own {
  readonly #plan: VolumePlan;
  #daemon: Daemon | undefined;
  #isEncrypted = false;
  #peakResidentBytes = 0;

  constructor(plan: VolumePlan) {
    this.#plan = plan;
  }

  /** Makes the volume and writes it once, through NBD. */
  async create(contentsFrom: string): Promise<void> {
    const daemon = await this.#running(false);
    await daemon.client('group', 'create', 'bench');
    const size = String(this.#plan.sizeBytes);
    await daemon.client('volume', 'create', 'bench/volume', '--size', size);
    await runChecked(
      requireProgram('nbdcopy'),
      ['--flush', contentsFrom, daemon.uri('bench/volume')],
      { timeoutSeconds: 1800 },
    );
    await settled(daemon);
  }

  async contestant(isEncrypted: boolean): Promise<Contestant> {
    const daemon = await this.#running(isEncrypted);
    const keys = isEncrypted ? this.#plan.preSharedKeyFile : undefined;
    const { journal } = await groupStatus(daemon);
    return {
      name: ownName,
      server: daemon,
      uri: encrypted(daemon.uri('bench/volume'), keys),
      file: await daemon.volumeFile('bench/volume'),
      preSharedKeyFile: keys,
      settled: () => settled(daemon),
      settledBeyondBytes: 3 * journal.capacityBytes,
    };
  }

  async #running(isEncrypted: boolean): Promise<Daemon> {
    if (this.#daemon && this.#isEncrypted === isEncrypted) return this.#daemon;
    await this.stop();
    this.#isEncrypted = isEncrypted;
    this.#daemon = await Daemon.start({
      dataDirectory: join(this.#plan.directory, 'data'),
      arguments: isEncrypted ? ['--tls', 'require', '--psk-file', this.#plan.preSharedKeyFile] : [],
    });
    return this.#daemon;
  }

  /** The most resident memory that it ever had, over all its runs. */
  get peakResidentBytes(): number {
    if (this.#daemon && this.#daemon.pid !== 0) {
      const peak = residentBytes(this.#daemon.pid).peak;
      this.#peakResidentBytes = Math.max(this.#peakResidentBytes, peak);
    }
    return this.#peakResidentBytes;
  }

  async stop(): Promise<void> {
    void this.peakResidentBytes;
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }
}

function settled(daemon: Daemon): Promise<void> {
  return until(
    () => 'not all that was written was applied',
    600,
    async () => {
      const { watermarks } = await groupStatus(daemon);
      return watermarks.applied >= watermarks.newest;
    },
  );
}

/** Resident memory of a process now and at its most (Linux, /proc). */
export function residentBytes(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { now: bytes('VmRSS'), peak: bytes('VmHWM') };
}
