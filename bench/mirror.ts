import { truncateSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { accepts, Child, freePort, runChecked, until } from '../test/support/children.ts';
import { fastestEngine, type NbdServer, peer } from '../test/support/peers.ts';
import { requireProgram } from '../test/support/tools.ts';

export interface MirrorPlan {
  readonly directory: string;
  readonly name: string;
  readonly contentsFrom: string;
  readonly sizeBytes: number;
  /** What serves the other file. */
  readonly target: 'qemu-nbd' | 'nbdkit';
  /**
   * The mirror passes neither FUA nor FLUSH on to its target: what is to be durable at both ends has to be
   * made durable there, write by write, unasked.
   */
  readonly isTargetWrittenThrough: boolean;
}

const startSeconds = 10;
const copySeconds = 1800;

/** qemu-storage-daemon over a file, each write mirrored to a file behind another NBD server before its answer. */
export class Mirror {
  readonly uri: string;
  readonly #target: NbdServer;
  readonly #child: Child;

  private constructor(uri: string, target: NbdServer, child: Child) {
    this.uri = uri;
    this.#target = target;
    this.#child = child;
  }

  /** Resolves when all contents are at the target, too. */
  static async start(plan: MirrorPlan): Promise<Mirror> {
    const { directory, name, sizeBytes } = plan;
    const sourceFile = join(directory, `${name}-source`);
    const targetFile = join(directory, `${name}-target`);
    await runChecked('cp', [plan.contentsFrom, sourceFile], { timeoutSeconds: copySeconds });
    await runChecked('touch', [targetFile]);
    truncateSync(targetFile, sizeBytes);
    const target = await peer(plan.target, {
      file: targetFile,
      isWrittenThrough: plan.isTargetWrittenThrough,
    });
    await target.start();
    const port = await freePort();
    const socket = join(directory, `${name}.socket`);
    const engine = await fastestEngine(requireProgram('qemu-nbd'));
    const child = new Child(
      requireProgram('qemu-storage-daemon'),
      [
        ['--blockdev', `driver=file,node-name=file,filename=${sourceFile},aio=${engine}`],
        ['--blockdev', 'driver=raw,node-name=source,file=file'],
        [
          '--blockdev',
          'driver=nbd,node-name=target,export=volume,server.type=inet,' +
            `server.host=127.0.0.1,server.port=${target.port}`,
        ],
        ['--nbd-server', `addr.type=inet,addr.host=127.0.0.1,addr.port=${port}`],
        ['--export', 'type=nbd,id=export,node-name=source,name=volume,writable=on'],
        ['--chardev', `socket,id=monitor,path=${socket},server=on,wait=off`],
        ['--monitor', 'chardev=monitor'],
      ].flat(),
    );
    const mirror = new Mirror(`nbd://127.0.0.1:${port}/volume`, target, child);
    try {
      await until(
        () => `qemu-storage-daemon does not listen: ${child.output}`,
        startSeconds,
        async () => {
          if (child.exited) throw new Error(`qemu-storage-daemon ended: ${child.output}`);
          return (await accepts({ port })) && (await accepts({ path: socket }));
        },
      );
      await mirrorAll(socket);
      return mirror;
    } catch (error) {
      await mirror.stop();
      throw error;
    }
  }

  /** All that was written is in its files; they are all that it has. */
  settled(): Promise<void> {
    return Promise.resolve();
  }

  verify(): Promise<void> {
    return this.#child.exited ? Promise.reject(new Error('it ended')) : Promise.resolve();
  }

  get output(): string {
    return this.#child.output + this.#target.output;
  }

  async stop(): Promise<void> {
    this.#child.signal('SIGKILL');
    await this.#child.exit;
    await this.#target.stop();
  }
}

async function mirrorAll(socketPath: string): Promise<void> {
  const monitor = await Monitor.connect(socketPath);
  await monitor.execute('qmp_capabilities', {});
  await monitor.execute('blockdev-mirror', {
    'job-id': 'mirror',
    device: 'source',
    target: 'target',
    sync: 'full',
    'copy-mode': 'write-blocking',
  });
  await until(
    () => 'the mirror is not level',
    copySeconds,
    async () => {
      const jobs = (await monitor.execute('query-block-jobs', {})) as { ready?: boolean }[];
      if (jobs.length === 0) throw new Error('the mirror ended');
      return jobs[0]?.ready === true;
    },
  );
  monitor.close();
}

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

/** QMP, one command at a time. */
class Monitor {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static connect(path: string): Promise<Monitor> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path }, () => resolve(new Monitor(socket)));
      socket.once('error', reject);
    });
  }

  async execute(command: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const line = await this.#lines.next();
      if (line.done) throw new Error(`${command}: the monitor closed`);
      // Greetings and events come in between.
      const answer = JSON.parse(line.value) as Answer;
      if (answer.error) throw new Error(`${command}: ${answer.error.desc}`);
      if ('return' in answer) return answer.return;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
