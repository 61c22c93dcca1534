import { closeSync, readSync } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, systemErrorCode } from './errors.ts';
import { KiB } from './limits.ts';
import type {
  ProcessEnd,
  ProcessOrder,
  ProcessOutcome,
  ProcessRunner,
  StartedProcess,
} from './process-runner.ts';
import { spawn, type SpawnedProcess, waitFor } from './spawn.ts';

const lookMilliseconds = 5;
/** What it may still do after SIGTERM, and how long the kernel may take to end it after SIGKILL. */
const graceMilliseconds = 1000;
const killMilliseconds = 2000;
/** Of each look: a flood is taken slowly, and costs little. */
const readBytesMax = 64 * KiB;
const keptBytesMax = 4 * KiB;
const othersMayWrite = 0o002;

/** The first and the last of what is written. */
class Output {
  #first = Buffer.alloc(0);
  #last = Buffer.alloc(0);
  #count = 0;

  add(bytes: Uint8Array): void {
    this.#count += bytes.length;
    const room = keptBytesMax - this.#first.length;
    if (room > 0) this.#first = Buffer.concat([this.#first, bytes.subarray(0, room)]);
    const rest = bytes.subarray(Math.max(0, room));
    if (rest.length === 0) return;
    this.#last = Buffer.concat([this.#last, rest]).subarray(-keptBytesMax);
  }

  get text(): string {
    const missing = this.#count - this.#first.length - this.#last.length;
    const between = missing > 0 ? `\n[${missing} bytes left out]\n` : '';
    return `${this.#first.toString('utf8')}${between}${this.#last.toString('utf8')}`.trim();
  }
}

/** `running`, then SIGTERM, then SIGKILL; each from a time on, as long as it does not end. */
type Stage = 'running' | 'ending' | 'killing';

class Run implements StartedProcess {
  readonly outcome: Promise<ProcessOutcome>;
  readonly #order: ProcessOrder;
  readonly #output = new Output();
  readonly #startedAt = performance.now();
  #resolve: (outcome: ProcessOutcome) => void = () => undefined;
  #process: SpawnedProcess | undefined;
  #stage: Stage = 'running';
  #stageEndsAt = Number.POSITIVE_INFINITY;
  #isStopped = false;
  #isOver = false;
  readonly #bytes = new Uint8Array(readBytesMax);

  constructor(order: ProcessOrder) {
    this.#order = order;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    void examine(order.path).then((obstacle) => {
      if (obstacle) this.#finish(obstacle);
      else if (this.#isStopped) this.#finish({ kind: 'stopped' });
      else this.#spawn();
    });
  }

  end(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (this.#stage === 'running') this.#stageEndsAt = 0;
  }

  #spawn(): void {
    const { path, directory, environment, timeoutMilliseconds } = this.#order;
    const all: Record<string, string> = {};
    for (const [name, value] of Object.entries({ ...process.env, ...environment })) {
      if (value !== undefined) all[name] = value;
    }
    spawn({ path, directory, environment: all }, (error, started) => {
      if (!started) {
        this.#finish({ kind: 'not_started', reason: reasonOf(error) });
        return;
      }
      this.#process = started;
      if (this.#isStopped) this.#stageEndsAt = 0;
      else this.#stageEndsAt = performance.now() + timeoutMilliseconds;
      this.#look(started);
    });
  }

  #look(started: SpawnedProcess): void {
    const status = waitFor(started.pid);
    this.#read(started);
    if (status === 'running') {
      if (performance.now() >= this.#stageEndsAt && !this.#press(started.pid)) {
        // The kernel does not let go of it. It is waited for, but nobody else has to.
        this.#finish(this.#overdue());
      }
      setTimeout(() => this.#look(started), this.#isOver ? killMilliseconds : lookMilliseconds);
      return;
    }
    // What it left behind goes with it, where its time was over.
    if (this.#stage !== 'running') signalGroup(started.pid, 'SIGKILL');
    if (this.#stage !== 'running') this.#finish(this.#overdue());
    else if (status === undefined) {
      this.#finish({ kind: 'not_started', reason: 'the system did not tell how it ended' });
    } else if ('code' in status) this.#finish({ kind: 'exited', code: status.code });
    else this.#finish({ kind: 'signalled', signal: status.signal });
  }

  /** Goes to the next stage; false where there is none. */
  #press(pid: number): boolean {
    if (this.#stage === 'killing') return false;
    const isFirst = this.#stage === 'running';
    this.#stage = isFirst ? 'ending' : 'killing';
    this.#stageEndsAt = performance.now() + (isFirst ? graceMilliseconds : killMilliseconds);
    signalGroup(pid, isFirst ? 'SIGTERM' : 'SIGKILL');
    return true;
  }

  #overdue(): ProcessEnd {
    return { kind: this.#isStopped ? 'stopped' : 'timed_out' };
  }

  #read({ output }: SpawnedProcess): void {
    if (this.#isOver) return;
    try {
      const count = readSync(output, this.#bytes, 0, readBytesMax, null);
      if (count > 0) this.#output.add(this.#bytes.subarray(0, count));
    } catch {
      // EAGAIN: it wrote nothing since.
    }
  }

  #finish(end: ProcessEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // What goes on without it writes to nobody.
    if (this.#process) closeSync(this.#process.output);
    this.#resolve({
      end,
      output: this.#output.text,
      milliseconds: performance.now() - this.#startedAt,
    });
  }
}

/** Why a file is not run. */
async function examine(path: string): Promise<ProcessEnd | undefined> {
  const cannot = (reason: string): ProcessEnd => ({ kind: 'not_started', reason });
  try {
    const found = await stat(path);
    if (!found.isFile()) return cannot('it is no file');
    if ((found.mode & othersMayWrite) !== 0) return cannot('everybody may write to it');
    await access(path, constants.X_OK);
    return undefined;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EACCES') return cannot('it is not executable');
    if (code !== 'ENOENT') return cannot(messageOf(error));
  }
  // A directory that is gone, or not mounted, is not one in which nothing is.
  const isThere = await stat(dirname(path)).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return isThere ? { kind: 'absent' } : cannot(`directory ${dirname(path)} is not there`);
}

function reasonOf(error: unknown): string {
  switch (systemErrorCode(error)) {
    case 'ENOENT':
      return 'the interpreter that its first line names is not there';
    case 'ENOEXEC':
      return 'its first line names no interpreter, such as #!/bin/sh';
    default:
      return messageOf(error);
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // All of them have ended.
  }
}

export const nodeProcessRunner: ProcessRunner = { start: (order) => new Run(order) };
