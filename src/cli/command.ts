import type { DaemonLocation, Progress } from '../control/client.ts';
import type { ChangeVerbName, Input, Parameters, Result } from '../control/schema.ts';
import type { VerbName } from '../control/schema-names.ts';
import type { Status } from '../control/schema-status.ts';

/** Starts a daemon in this process; given by whoever starts the program. */
export type StartDaemon = (settings: Parameters<'serve'>) => Promise<{
  readonly listening: Result<'serve'>;
  readonly stopped: Promise<void>;
}>;

/** What a command has beside its own parameters. */
export interface CommandContext {
  readonly json: boolean;
  readonly location: DaemonLocation;
  readonly startDaemon: StartDaemon;
  /** The exit code of the program, where nothing is thrown. */
  readonly exit: (code: number) => void;
}

/** How a verb stands on the command line, apart from what its schema says. One file each. */
export interface ChangeCommand<Name extends ChangeVerbName = ChangeVerbName> {
  readonly kind: 'change';
  readonly name: Name;
  /** Makes what is meant from here meant from anywhere: paths. */
  prepare?(input: Input<Name>): Input<Name>;
  /** Called while it takes long, when somebody looks at a terminal. */
  startProgress?(): Promise<{ show(progress: Progress): void; end(): void }>;
  /** For people; '' prints nothing. */
  text(result: Result<Name>, parameters: Parameters<Name>): string;
  /** Of a result that is no error, and not what one hopes for. */
  exitCode?(result: Result<Name>): number;
}

export interface ReadCommand<Name extends VerbName = VerbName> {
  readonly kind: 'read';
  readonly name: Name;
  /** Throws JnbdError (not_found). */
  read(status: Status, parameters: Parameters<Name>): Result<Name>;
  text(result: Result<Name>): string;
  /** Whether to read and show again every second. */
  repeats?(parameters: Parameters<Name>): boolean;
}

export interface LocalCommand<Name extends VerbName = VerbName> {
  readonly kind: 'local';
  readonly name: Name;
  /** `print` shows a result. */
  run(
    input: Input<Name>,
    context: CommandContext,
    print: (result: Result<Name>, text: string) => void,
  ): Promise<void>;
}
