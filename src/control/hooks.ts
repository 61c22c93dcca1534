/**
 * Hooks: executables of the user, in a directory, each named by the event it is for. They fence a
 * host, move an address or a mount, tell somebody. `before-promote` has the last word: unless it ends
 * well, there is no promotion.
 */
import { join } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { JnbdError } from '../platform/errors.ts';
import type {
  ProcessEnd,
  ProcessOutcome,
  ProcessRunner,
  StartedProcess,
} from '../platform/process-runner.ts';
import { commandText } from './client-command.ts';
import { controlSocketPath } from './client-socket.ts';

/** Those that are asked, and can say no. */
const questions = ['before-promote'] as const;
/** Those that are told. */
const notices = ['after-promote', 'after-demote', 'state-changed'] as const;
export const hookEvents = [...questions, ...notices];
export type HookQuestion = (typeof questions)[number];
export type HookNotice = (typeof notices)[number];
type HookEvent = HookQuestion | HookNotice;

/** What it is about, as it was when it happened. */
export interface HookSubject {
  readonly group: string;
  readonly role: string;
  readonly state: string;
  readonly generation: number;
  /** The newest update that is durable here. */
  readonly number: number;
  /** Where it is told of a change. */
  readonly previous?: { readonly role: string; readonly state: string };
}

export interface HooksOptions {
  readonly runner: ProcessRunner;
  readonly clock: Clock;
  /** Absolute. */
  readonly directory: string;
  readonly timeoutMilliseconds: number;
  readonly system: string;
  readonly dataDirectory: string;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

export const hookTimeoutMillisecondsDefault = 30_000;
/** Of one group. Whoever changes state that often is told of the later ones alone. */
const waitingMax = 32;

interface Job {
  readonly event: HookEvent;
  readonly subject: HookSubject;
  readonly ended: (outcome: ProcessOutcome) => void;
}

/** One at a time, in the order of what happened. */
interface Lane {
  readonly waiting: Job[];
  running: StartedProcess | undefined;
}

const notRun: ProcessOutcome = { end: { kind: 'stopped' }, output: '', milliseconds: 0 };

export class Hooks {
  readonly #options: HooksOptions;
  readonly #lanes = new Map<string, Lane>();
  #isClosed = false;

  constructor(options: HooksOptions) {
    this.#options = options;
  }

  /** Resolves when the hook agrees, or there is none. Throws JnbdError hook_refused. */
  async ask(event: HookQuestion, subject: HookSubject): Promise<void> {
    const outcome = await new Promise<ProcessOutcome>((ended) => {
      this.#add({ event, subject, ended });
    });
    const { end, output } = outcome;
    if (end.kind === 'absent' || (end.kind === 'exited' && end.code === 0)) return;
    const said = lastLine(output);
    throw new JnbdError(
      'hook_refused',
      `${this.#path(event)} ${endText(end)}, so group ${subject.group} stays as it is${said === '' ? '' : `; it said: ${said}`}`,
    );
  }

  tell(event: HookNotice, subject: HookSubject): void {
    this.#add({ event, subject, ended: () => undefined });
  }

  /** Runs no other, and ends what still runs after so long. */
  async close(milliseconds: number): Promise<void> {
    this.#isClosed = true;
    const running: Promise<unknown>[] = [];
    const lanes = [...this.#lanes.values()];
    for (const lane of lanes) {
      for (const { ended } of lane.waiting.splice(0)) ended(notRun);
      if (lane.running) running.push(lane.running.outcome);
    }
    if (running.length === 0) return;
    const timer = this.#options.clock.after(milliseconds, () => {
      for (const lane of lanes) lane.running?.end();
    });
    await Promise.all(running);
    timer.cancel();
  }

  #add(job: Job): void {
    if (this.#isClosed) {
      job.ended(notRun);
      return;
    }
    const { group } = job.subject;
    const lane = this.#lanes.get(group) ?? { waiting: [], running: undefined };
    this.#lanes.set(group, lane);
    lane.waiting.push(job);
    if (lane.waiting.length > waitingMax) {
      const at = lane.waiting.findIndex(({ event }) => event === 'state-changed');
      const [dropped] = at < 0 ? [] : lane.waiting.splice(at, 1);
      if (dropped) {
        this.#options.event(
          'hook_left_out',
          `${this.#path(dropped.event)} was left out: too many`,
          {
            group,
          },
        );
        dropped.ended(notRun);
      }
    }
    this.#next(group, lane);
  }

  #next(group: string, lane: Lane): void {
    if (lane.running) return;
    const job = lane.waiting.shift();
    if (!job) {
      this.#lanes.delete(group);
      return;
    }
    const { runner, directory, timeoutMilliseconds } = this.#options;
    const running = runner.start({
      path: this.#path(job.event),
      environment: this.#environment(job),
      directory,
      timeoutMilliseconds,
    });
    lane.running = running;
    void running.outcome.then((outcome) => {
      lane.running = undefined;
      this.#report(job, outcome);
      job.ended(outcome);
      this.#next(group, lane);
    });
  }

  #path(event: HookEvent): string {
    return join(this.#options.directory, event);
  }

  #environment({ event, subject }: Job): Record<string, string> {
    const { system, dataDirectory } = this.#options;
    return {
      JNBD_EVENT: event,
      JNBD_SYSTEM: system,
      JNBD_GROUP: subject.group,
      JNBD_ROLE: subject.role,
      JNBD_STATE: subject.state,
      JNBD_PREVIOUS_ROLE: subject.previous?.role ?? '',
      JNBD_PREVIOUS_STATE: subject.previous?.state ?? '',
      JNBD_GENERATION: String(subject.generation),
      JNBD_POSITION: `${subject.generation}:${subject.number}`,
      JNBD_DATA: dataDirectory,
      JNBD_CONTROL_SOCKET: controlSocketPath(dataDirectory),
    };
  }

  #report({ event, subject: { group } }: Job, { end, output, milliseconds }: ProcessOutcome): void {
    if (end.kind === 'absent') return;
    const path = this.#path(event);
    const isWell = end.kind === 'exited' && end.code === 0;
    this.#options.event(
      isWell ? 'hook_done' : 'hook_failed',
      `${path} for group ${group} ${endText(end)} after ${(milliseconds / 1000).toFixed(1)}s`,
      {
        group,
        ...(output === '' ? {} : { output }),
        ...(isWell ? {} : { nextCommand: commandText('ls', '-l', path) }),
      },
    );
  }
}

function endText(end: ProcessEnd): string {
  switch (end.kind) {
    case 'absent':
      return 'is not there';
    case 'not_started':
      return `cannot be run: ${end.reason}`;
    case 'exited':
      return `exited with ${end.code}`;
    case 'signalled':
      return `was ended by signal ${end.signal}`;
    case 'timed_out':
      return 'took too long and was ended';
    case 'stopped':
      return 'was not finished: the daemon stops';
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}
