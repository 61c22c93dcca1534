import type { z } from 'zod';
import type { System } from '../group/system/system.ts';
import { JnbdError, refusedBySystem } from '../platform/errors.ts';
import type { EventHistory } from './events.ts';
import type { Metrics } from './metrics.ts';
import type { ChangeVerbName } from './schema.ts';
import { firstIssue, verbPath, verbs } from './schema.ts';
import type { SystemEvent } from './schema-events.ts';
import { verbSummaries, type VerbName } from './schema-names.ts';
import type { Status } from './schema-status.ts';
import type { StatusReport } from './status.ts';
import type { VerbCall } from './verb-call.ts';
import type { Verbs } from './verbs.ts';

const changeVerbs = new Map(
  (Object.keys(verbSummaries) as VerbName[])
    .filter((name): name is ChangeVerbName => verbs[name].kind === 'change')
    .map((name) => [verbPath(name), name]),
);

/** The groups that somebody may know of. */
export type VisibleGroups = 'all' | readonly string[];

/** `group`: null for what concerns the system as a whole. */
export function sees(groups: VisibleGroups, group: string | null): boolean {
  return groups === 'all' || (group !== null && groups.includes(group));
}

/** Whether hosts can be served. */
export interface Readiness {
  readonly ready: boolean;
  readonly groups: readonly { readonly name: string; readonly state: string }[];
}

/** What a daemon can be asked, whichever way the question comes. */
export class ControlService {
  readonly #system: System;
  readonly #report: StatusReport;
  readonly #metrics: Metrics;
  readonly #verbs: Verbs;
  readonly #events: EventHistory;

  constructor(
    system: System,
    report: StatusReport,
    metrics: Metrics,
    verbsRunner: Verbs,
    events: EventHistory,
  ) {
    this.#system = system;
    this.#report = report;
    this.#metrics = metrics;
    this.#verbs = verbsRunner;
    this.#events = events;
  }

  status(visible: VisibleGroups = 'all'): Status {
    const status = this.#report.read();
    return {
      ...status,
      groups: status.groups.filter(({ name }) => sees(visible, name)),
      cuts: status.cuts.filter(({ members, targets }) =>
        [...members, ...targets].every(({ group }) => sees(visible, group)),
      ),
    };
  }

  metrics(): Promise<string> {
    return this.#metrics.read();
  }

  /** What happened since then (Unix time); with `signal` also what happens until it is aborted. */
  events(sinceMilliseconds: number, signal?: AbortSignal): AsyncGenerator<SystemEvent> {
    return this.#events.read(sinceMilliseconds, signal);
  }

  readiness(visible: VisibleGroups = 'all'): Readiness {
    const groups = [...this.#system.groups.values()]
      .map(({ name, state }) => ({ name, state }))
      .filter(({ name }) => sees(visible, name));
    return { ready: groups.every(({ state }) => state === 'normal'), groups };
  }

  /** `path` as of `verbPath`; `input` is not trusted. Throws JnbdError. */
  async change(path: string, input: unknown, call: VerbCall): Promise<unknown> {
    const name = changeVerbs.get(path);
    if (name === undefined) {
      throw new JnbdError('argument_invalid', `there is no ${path}; see jnbd --help`);
    }
    const schema: z.ZodObject = verbs[name].parameters;
    const parsed = schema.safeParse(input, { reportInput: true });
    if (!parsed.success) {
      throw new JnbdError('argument_invalid', `${name}: ${firstIssue(schema, parsed.error)}`);
    }
    try {
      return await this.#verbs.run(name, parsed.data as never, call);
    } catch (error) {
      // It ends the verb, and not the process.
      throw refusedBySystem(error, 'write_failed', name) ?? error;
    }
  }
}
