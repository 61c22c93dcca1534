import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { createServer, connect } from 'node:net';

/** Process ids (negative: a whole process group) that must not outlive this process. */
const live = new Set<number>();

process.once('exit', () => {
  for (const pid of live) signal(pid, 'SIGKILL');
});
// Without these a signal would end the process before 'exit' can tidy up.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  if (process.listenerCount(name) === 0) process.once(name, () => process.exit(1));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is gone already, which is what we want.
  }
}

/** Kills the process (or, negative, the group) when this process ends, however that comes. */
export function endWithUs(pid: number): void {
  live.add(pid);
}

export function ended(pid: number): void {
  live.delete(pid);
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child whose output is kept (its last 256 KiB) and which does not outlive us. */
export class Child {
  readonly pid: number;
  readonly exit: Promise<Exit>;
  readonly #process: ChildProcess;
  #output = '';
  #exited: Exit | undefined;

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const keep = (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString('utf8')).slice(-262_144);
    };
    this.#process.stdout?.on('data', keep);
    this.#process.stderr?.on('data', keep);
    this.exit = new Promise((resolve) => {
      const done = (code: number | null, name: NodeJS.Signals | null) => {
        if (this.#exited) return;
        this.#exited = { code, signal: name };
        ended(this.pid);
        resolve(this.#exited);
      };
      this.#process.once('exit', done);
      this.#process.once('error', (error) => {
        this.#output += String(error);
        done(-1, null);
      });
    });
    this.pid = this.#process.pid ?? 0;
    if (this.pid > 0) endWithUs(this.pid);
  }

  get output(): string {
    return this.#output;
  }

  get exited(): Exit | undefined {
    return this.#exited;
  }

  get stdin(): NodeJS.WritableStream | null {
    return this.#process.stdin;
  }

  get stdout(): NodeJS.ReadableStream | null {
    return this.#process.stdout;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly environment?: Record<string, string>;
  readonly input?: string;
  /** Where it runs; here unless said otherwise. */
  readonly directory?: string;
  readonly timeoutSeconds?: number;
}

/** Runs a program to its end; a program that takes longer than `timeoutSeconds` (120) is killed: code -1. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.environment },
      cwd: options.directory,
    });
    const pid = child.pid ?? 0;
    if (pid > 0) endWithUs(pid);
    let stdout = '';
    let stderr = '';
    let late = false;
    const timeoutSeconds = options.timeoutSeconds ?? 120;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutSeconds * 1000);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      ended(pid);
      if (late) stderr += `\n${command}: killed after ${timeoutSeconds} s`;
      resolve({ code: late ? -1 : (code ?? -1), stdout, stderr });
    });
  });
}

/** As `run`, but anything except exit code 0 is an error that shows what the program said. */
export async function runChecked(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await run(command, args, options);
  if (result.code !== 0) {
    throw new Error(
      `${command} ${args.join(' ')} exited with ${result.code}:\n${result.stdout}${result.stderr}`,
    );
  }
  return result;
}

/**
 * Ports below those that the kernel gives to outgoing connections, and for each worker of a test run others: who
 * was told that a port is free takes it only when its program has started.
 */
const firstPort = 10_000;
const portsOfWorker = 2_500;
const workersMax = 8;
const worker = Number(process.env.VITEST_POOL_ID ?? 0) % workersMax;
let portsTried = process.pid;

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < portsOfWorker; tried += 1) {
    portsTried += 1;
    const port = firstPort + worker * portsOfWorker + (portsTried % portsOfWorker);
    if (await isFree(port)) return port;
  }
  throw new Error(`all of ${portsOfWorker} ports are taken`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Asks every 10 ms until the answer is yes; an error with `what` after `timeoutSeconds`. */
export async function until(
  what: () => string,
  timeoutSeconds: number,
  ask: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`after ${timeoutSeconds} s: ${what()}`);
    await sleep(10);
  }
}

/** Whether somebody accepts connections there. */
export function accepts(where: { port: number } | { path: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect('port' in where ? { host: '127.0.0.1', ...where } : where);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
