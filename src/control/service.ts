import type { z } from 'zod';
import type { System } from '../group/system.ts';
import { JnbdError, refusedBySystem } from '../platform/errors.ts';
import type { Metrics } from './metrics.ts';
import type { ChangeVerbName } from './schema.ts';
import { firstIssue, verbPath, verbs } from './schema.ts';
import { verbSummaries, type VerbName } from './schema-names.ts';
import type { Status } from './schema-status.ts';
import type { StatusReport } from './status.ts';
import type { VerbCall, Verbs } from './verbs.ts';

const changeVerbs = new Map(
  (Object.keys(verbSummaries) as VerbName[])
    .filter((name): name is ChangeVerbName => verbs[name].kind === 'change')
    .map((name) => [verbPath(name), name]),
);

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

  constructor(system: System, report: StatusReport, metrics: Metrics, verbsRunner: Verbs) {
    this.#system = system;
    this.#report = report;
    this.#metrics = metrics;
    this.#verbs = verbsRunner;
  }

  status(): Status {
    return this.#report.read();
  }

  metrics(): Promise<string> {
    return this.#metrics.read();
  }

  readiness(): Readiness {
    const groups = [...this.#system.groups.values()].map(({ name, state }) => ({ name, state }));
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
