import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { accepts, Child, ended, endWithUs, freePort, run, until } from './children.ts';
import { recordedTool, requireProgram } from './tools.ts';

/**
 * A running NBD server, ours or another, as tests and benchmarks see it. Stopped or killed, it can be
 * started again on the same port over the same data.
 */
export interface NbdServer {
  readonly name: string;
  readonly port: number;
  /** The process that serves; 0 when none runs. */
  readonly pid: number;
  uri(exportName?: string): string;
  start(): Promise<void>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** What it printed, for a test that failed. */
  readonly output: string;
}

export type PeerName = 'nbdkit' | 'qemu-nbd' | 'nbd-server';

export interface PeerOptions {
  /** The volume. It exists. */
  readonly file: string;
  /** `name:hexadecimal key` lines; every client must use one of them. Not nbd-server. */
  readonly preSharedKeyFile?: string;
  /** Each write is durable before its answer. Not nbd-server. */
  readonly isWrittenThrough?: boolean;
  /** Of the file, `raw` unless said otherwise. qemu-nbd alone. */
  readonly format?: 'raw' | 'qcow2';
}

/** One export, named `volume` where the server cares, at the settings that were fastest when measured. */
export async function peer(name: PeerName, options: PeerOptions): Promise<NbdServer> {
  const port = await freePort();
  switch (name) {
    case 'nbdkit':
      return new ForegroundPeer(name, port, requireProgram(name), nbdkitArguments(port, options));
    case 'qemu-nbd': {
      const program = requireProgram(name);
      const engine = await fastestEngine(program);
      return new ForegroundPeer(name, port, program, qemuArguments(port, options, engine));
    }
    case 'nbd-server':
      return new NbdServerPeer(port, options.file);
  }
}

/** Serves every file of the directory as the export of its name. */
export async function nbdkitDirectory(
  directory: string,
  args: readonly string[],
): Promise<NbdServer> {
  const port = await freePort();
  return new ForegroundPeer(
    'nbdkit',
    port,
    requireProgram('nbdkit'),
    [
      '--foreground',
      ['--ipaddr', '127.0.0.1', '--port', String(port)],
      ...args,
      'file',
      `dir=${directory}`,
    ].flat(),
  );
}

/** Threads and page cache at nbdkit's defaults: 1, 2 and 4 threads measured no better than its 16. */
function nbdkitArguments(port: number, options: PeerOptions): string[] {
  const keys = options.preSharedKeyFile;
  return [
    '--foreground',
    ['--ipaddr', '127.0.0.1', '--port', String(port)],
    ...(keys === undefined ? [] : ['--tls=require', `--tls-psk=${keys}`]),
    ...(options.isWrittenThrough ? ['--filter=fua'] : []),
    'file',
    options.file,
    ...(options.isWrittenThrough ? ['fuamode=force'] : []),
  ].flat();
}

function qemuArguments(port: number, options: PeerOptions, engine: string): string[] {
  const keys = options.preSharedKeyFile;
  // qemu wants a directory, with the keys in a file of a fixed name.
  const credentials =
    keys === undefined
      ? []
      : [
          '--object',
          `tls-creds-psk,id=keys,endpoint=server,dir=${dirname(keys)}`,
          '--tls-creds',
          'keys',
        ];
  return [
    ['--format', options.format ?? 'raw', '--bind', '127.0.0.1', '--port', String(port)],
    ['--persistent', '--shared', '8', '--export-name', 'volume'],
    [
      '--cache',
      options.isWrittenThrough ? 'writethrough' : 'writeback',
      '--aio',
      engine,
      '--discard',
      'unmap',
    ],
    ...credentials,
    options.file,
  ].flat();
}

let engineFound: Promise<string> | undefined;

/** io_uring was the faster one; containers often forbid it, and qemu-nbd then does not start. */
export function fastestEngine(program: string): Promise<string> {
  engineFound ??= (async () => {
    const file = join('/tmp', `jnbd-engine-${process.pid}`);
    writeFileSync(file, Buffer.alloc(1024 * 1024));
    const socket = `${file}.socket`;
    const child = new Child(
      program,
      [['--format', 'raw', '--aio', 'io_uring', '--persistent', '--socket', socket], file].flat(),
    );
    try {
      await until(
        () => 'qemu-nbd neither started nor ended',
        10,
        async () => child.exited !== undefined || (await accepts({ path: socket })),
      );
      return child.exited === undefined ? 'io_uring' : 'threads';
    } finally {
      child.signal('SIGKILL');
      await child.exit;
      rmSync(file, { force: true });
      rmSync(socket, { force: true });
    }
  })();
  return engineFound;
}

class ForegroundPeer implements NbdServer {
  readonly name: string;
  readonly port: number;
  readonly #program: string;
  readonly #arguments: readonly string[];
  #child: Child | undefined;

  constructor(name: string, port: number, command: string, args: readonly string[]) {
    this.name = name;
    this.port = port;
    this.#program = command;
    this.#arguments = args;
  }

  get pid(): number {
    return this.#child && !this.#child.exited ? this.#child.pid : 0;
  }

  get output(): string {
    return this.#child?.output ?? '';
  }

  uri(exportName = 'volume'): string {
    return `nbd://127.0.0.1:${this.port}/${exportName}`;
  }

  async start(): Promise<void> {
    const child = new Child(this.#program, this.#arguments);
    this.#child = child;
    await until(
      () => `${this.name} does not listen on ${this.port}: ${child.output}`,
      10,
      async () => {
        if (child.exited) throw new Error(`${this.name} ended: ${child.output}`);
        return accepts({ port: this.port });
      },
    );
  }

  async stop(): Promise<void> {
    this.#child?.signal('SIGTERM');
    await this.#child?.exit;
  }

  async kill(): Promise<void> {
    this.#child?.signal('SIGKILL');
    await this.#child?.exit;
  }
}

/**
 * nbd-server in the background, with a process for each connection, as it is meant to run: in the
 * foreground it ends when a client vanishes. Four worker threads and no splice were fastest.
 */
class NbdServerPeer implements NbdServer {
  readonly name = 'nbd-server';
  readonly port: number;
  readonly #configuration: string;
  readonly #pidFile: string;
  #pid = 0;
  #output = '';

  constructor(port: number, file: string) {
    this.port = port;
    this.#configuration = `${file}.${port}.conf`;
    this.#pidFile = `${file}.${port}.pid`;
    writeFileSync(
      this.#configuration,
      [
        '[generic]',
        'listenaddr = 127.0.0.1',
        `port = ${port}`,
        'allowlist = true',
        'max_threads = 4',
        '[volume]',
        `exportname = ${file}`,
        'flush = true',
        'fua = true',
        'trim = true',
        '',
      ].join('\n'),
    );
  }

  get pid(): number {
    return this.#pid;
  }

  get output(): string {
    return this.#output;
  }

  uri(exportName = 'volume'): string {
    return `nbd://127.0.0.1:${this.port}/${exportName}`;
  }

  async start(): Promise<void> {
    rmSync(this.#pidFile, { force: true });
    const result = await run(
      requireProgram('nbd-server'),
      ['-C', this.#configuration, '-p', this.#pidFile],
      { environment: { LD_LIBRARY_PATH: recordedTool('JNBD_TEST_LIBRARY_PATH') ?? '' } },
    );
    this.#output = result.stdout + result.stderr;
    await until(
      () => `nbd-server does not listen on ${this.port}: ${this.#output}`,
      10,
      async () => existsSync(this.#pidFile) && (await accepts({ port: this.port })),
    );
    this.#pid = Number(readFileSync(this.#pidFile, 'utf8'));
    // It leads a process group of its own: its children are one a connection.
    endWithUs(-this.#pid);
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async #end(name: NodeJS.Signals): Promise<void> {
    if (this.#pid === 0) return;
    const group = -this.#pid;
    this.#pid = 0;
    try {
      process.kill(group, name);
      await until(
        () => `nbd-server ${-group} does not end`,
        10,
        () => !groupLives(group),
      );
    } finally {
      ended(group);
    }
  }
}

function groupLives(group: number): boolean {
  try {
    process.kill(group, 0);
    return true;
  } catch {
    return false;
  }
}
