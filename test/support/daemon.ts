import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { accepts, Child, freePort, run, until } from './children.ts';
import type { NbdServer } from './peers.ts';

/** The built program: what a user runs. `scripts/build` makes it. */
export const program = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface DaemonOptions {
  /** Its data directory; may be empty or not exist. */
  readonly dataDirectory: string;
  /** Further NBD addresses beside the TCP one. */
  readonly nbd?: readonly string[];
  /** Further arguments of `serve`. */
  readonly arguments?: readonly string[];
  /** Runs the daemon under another command, such as one that puts it into a control group. */
  readonly wrapper?: readonly string[];
}

/** A command of ours that did not exit with 0. */
export class CommandFailed extends Error {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;

  constructor(args: readonly string[], code: number, stdout: string, stderr: string) {
    super(`jnbd ${args.join(' ')} exited with ${code}:\n${stdout}${stderr}`);
    this.code = code;
    this.stdout = stdout;
    this.stderr = stderr;
  }
}

/** A daemon of ours: the built program on free ports of 127.0.0.1, over one data directory. */
export class Daemon implements NbdServer {
  readonly name = 'jnbd';
  readonly dataDirectory: string;
  readonly port: number;
  readonly listenPort: number;
  readonly #options: DaemonOptions;
  #child: Child | undefined;
  #earlierOutput = '';

  private constructor(options: DaemonOptions, port: number, listenPort: number) {
    this.#options = options;
    this.dataDirectory = options.dataDirectory;
    this.port = port;
    this.listenPort = listenPort;
  }

  /** A daemon that does not run yet. */
  static async prepare(options: DaemonOptions): Promise<Daemon> {
    if (!existsSync(program)) throw new Error(`${program} is not there: run scripts/build`);
    return new Daemon(options, await freePort(), await freePort());
  }

  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = await Daemon.prepare(options);
    await daemon.start();
    return daemon;
  }

  get pid(): number {
    return this.#child && !this.#child.exited ? this.#child.pid : 0;
  }

  get output(): string {
    return this.#earlierOutput + (this.#child?.output ?? '');
  }

  uri(exportName: string): string {
    return `nbd://127.0.0.1:${this.port}/${exportName}`;
  }

  async start(): Promise<void> {
    if (this.pid !== 0) throw new Error('this daemon runs already');
    this.#earlierOutput = this.output;
    const serve = [
      program,
      'serve',
      ['--data', this.dataDirectory],
      ['--nbd', `127.0.0.1:${this.port}`],
      ...(this.#options.nbd ?? []).flatMap((address) => ['--nbd', address]),
      ['--listen', `127.0.0.1:${this.listenPort}`],
      ...(this.#options.arguments ?? []),
    ].flat();
    const [command = '', ...args] = [...(this.#options.wrapper ?? []), process.execPath, ...serve];
    const child = new Child(command, args);
    this.#child = child;
    await until(
      () => `the daemon is not ready:\n${child.output}`,
      30,
      async () => {
        if (child.exited) throw new Error(`the daemon ended:\n${child.output}`);
        return (await accepts({ port: this.port })) && (await this.#ready());
      },
    );
  }

  async #ready(): Promise<boolean> {
    try {
      return (await this.get('/readyz')).status === 200;
    } catch {
      return false;
    }
  }

  async stop(): Promise<void> {
    this.#child?.signal('SIGTERM');
    await this.#child?.exit;
  }

  async kill(): Promise<void> {
    this.#child?.signal('SIGKILL');
    await this.#child?.exit;
  }

  /** How it ended: `undefined` while it runs. */
  get exited(): Child['exited'] {
    return this.#child?.exited;
  }

  /** Runs `jnbd ARGUMENTS --data DIR --json` and returns what it printed, parsed. */
  async client(...args: string[]): Promise<unknown> {
    const all = [...args, '--data', this.dataDirectory, '--json'];
    const result = await run(process.execPath, [program, ...all]);
    if (result.code !== 0) throw new CommandFailed(all, result.code, result.stdout, result.stderr);
    return JSON.parse(result.stdout) as unknown;
  }

  /** GET from the status and metrics port. */
  get(path: string): Promise<{ status: number; body: string }> {
    return new Promise((done, reject) => {
      const asked = request(
        { host: '127.0.0.1', port: this.listenPort, path, agent: false, timeout: 10_000 },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.once('end', () => done({ status: response.statusCode ?? 0, body }));
          response.once('error', reject);
        },
      );
      asked.once('timeout', () => asked.destroy(new Error(`no answer to GET ${path}`)));
      asked.once('error', reject);
      asked.end();
    });
  }

  /**
   * The value of a metric: the sum over its series, or over those whose labels contain all of `labels`
   * (`group="g"`). An error when there is none.
   */
  async metric(name: string, ...labels: string[]): Promise<number> {
    const { body } = await this.get('/metrics');
    let sum: number | undefined;
    for (const line of body.split('\n')) {
      const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match?.[1] !== name) continue;
      if (!labels.every((label) => match[2]?.includes(label))) continue;
      sum = (sum ?? 0) + Number(match[3]);
    }
    if (sum === undefined) throw new Error(`/metrics has no ${name} ${labels.join(' ')}`);
    return sum;
  }

  /** Where the daemon keeps a volume's contents. */
  async volumeFile(volume: string): Promise<string> {
    const shown = await this.client('volume', 'show', volume);
    const path = findText(shown, 'backingFile');
    if (path === undefined) {
      throw new Error(`volume show ${volume} names no backingFile: ${JSON.stringify(shown)}`);
    }
    return resolve(this.dataDirectory, path);
  }
}

/** The first text member of that name, anywhere in the answer. */
function findText(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, member] of Object.entries(value)) {
    if (key === name && typeof member === 'string') return member;
    const found = findText(member, name);
    if (found !== undefined) return found;
  }
  return undefined;
}
