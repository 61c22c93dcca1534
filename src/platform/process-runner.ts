/** Runs programs of others. `node-process-runner.ts` is the real one; a simulation brings another. */
export interface ProcessOrder {
  /** Absolute path of the executable. It gets no arguments and no input. */
  readonly path: string;
  /** Beside the environment of this process. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where it runs. */
  readonly directory: string;
  /** From its start; then it is ended, with all that it started and that did not leave its process group. */
  readonly timeoutMilliseconds: number;
}

export type ProcessEnd =
  /** There is no such file, in a directory that is there. */
  | { readonly kind: 'absent' }
  /** It, or what its first line names, cannot be run. */
  | { readonly kind: 'not_started'; readonly reason: string }
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: number }
  | { readonly kind: 'timed_out' }
  /** By `end`. */
  | { readonly kind: 'stopped' };

export interface ProcessOutcome {
  readonly end: ProcessEnd;
  /** What it wrote to standard output and standard error: the first and the last of it. */
  readonly output: string;
  readonly milliseconds: number;
}

export interface StartedProcess {
  readonly outcome: Promise<ProcessOutcome>;
  /** As if its time were over. */
  end(): void;
}

export interface ProcessRunner {
  /** Never throws, and never waits: all that can go wrong is in the outcome. */
  start(order: ProcessOrder): StartedProcess;
}
