import { Command, CommanderError } from 'commander';
import type { DaemonLocation } from '../control/client.ts';
import { verbSummaries, type VerbName } from '../control/schema-names.ts';
import { exitCodes, JnbdError } from '../platform/errors.ts';
import { readVersion } from '../platform/version.ts';
import type { StartDaemon } from './command.ts';
import { journalCommand } from './journal.ts';
import { printError } from './output.ts';

const dataDirectoryDefault = './jnbd-data';

const exitText = `
Exit: 0 done, 1 failed, 2 usage, 3 not found, 4 refused by state, 5 timed out,
6 daemon not reachable, 7 damage or difference found.
With --json, standard output is the result and nothing else; of an error it is
{"error":{"code","message"}}. The sentence about an error is on standard error.`;

interface CommonOptions {
  readonly json?: boolean;
  readonly data?: string;
  readonly connect?: string;
}

/** Runs one command line and returns its exit code. Programming errors are thrown. */
export async function runCommandLine(
  given: readonly string[],
  startDaemon: StartDaemon,
): Promise<number> {
  // The parser's own `help` knows the first word of a verb only.
  const words = given[0] === 'help' ? [...given.slice(1), '--help'] : given;
  const isJson = words.includes('--json');
  let code = 0;
  const exit = (wanted: number): void => {
    code = wanted;
  };
  try {
    await makeProgram(words, startDaemon, exit).then((program) =>
      program.parseAsync(words, { from: 'user' }),
    );
    return code;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      const message = error.message
        .replace(/^error: /, '')
        .replace(/\n/g, ' ')
        .replace(/\.$/, '');
      const isHelp = error.code === 'commander.help';
      const verb = findVerb(words) ?? namedBy(words, ['journal inspect', 'journal check']);
      const help = `jnbd ${verb === undefined ? '' : `${verb} `}--help`;
      const text = isHelp ? 'no command was given' : `${message} (see ${help})`;
      printError(new JnbdError('argument_invalid', text), isJson, !isHelp);
      return exitCodes.usage;
    }
    if (!(error instanceof JnbdError)) throw error;
    printError(error, isJson, true);
    return exitCodes[error.kind];
  }
}

async function makeProgram(
  words: readonly string[],
  startDaemon: StartDaemon,
  exit: (code: number) => void,
): Promise<Command> {
  const program = new Command('jnbd')
    .description('jnbd serves volumes over NBD and journals every write')
    .addHelpText('after', exitText)
    .version(readVersion(), '--version', 'show the version')
    .helpOption('--help', 'show help')
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  const wanted = findVerb(words);
  const parents = new Map<string, Command>();
  for (const name of Object.keys(verbSummaries) as VerbName[]) {
    const [first = '', second] = name.split(' ');
    let parent = program;
    if (second !== undefined) {
      parent = parents.get(first) ?? program.command(first).description(familyText(first));
      parents.set(first, parent);
    }
    const command = parent.command(second ?? first).description(verbSummaries[name]);
    if (name === wanted) await fill(command, name, startDaemon, exit);
  }
  journalCommand(exit, program.command('journal'));
  return program;
}

/** `groups: create, list, ...` */
function familyText(first: string): string {
  const pairs = Object.keys(verbSummaries).map((name) => name.split(' '));
  const seconds = pairs.flatMap(([name, second]) => (name === first && second ? [second] : []));
  const plural = first === 'branch' ? 'branches' : `${first}s`;
  return `${first === 'pki' ? 'certificates' : plural}: ${seconds.join(', ')}`;
}

/** The verb stands first. Only its own options are made, because schemas cost time to load. */
function findVerb(words: readonly string[]): VerbName | undefined {
  return namedBy(words, Object.keys(verbSummaries) as VerbName[]);
}

function namedBy<Name extends string>(
  words: readonly string[],
  names: readonly Name[],
): Name | undefined {
  return names.find((name) => name.split(' ').every((part, at) => words[at] === part));
}

async function fill(
  command: Command,
  name: VerbName,
  startDaemon: StartDaemon,
  exit: (code: number) => void,
): Promise<void> {
  const { addParameters, asksDaemon, runVerb } = await import('./run-verb.ts');
  const takes = addParameters(command, name);
  command.option('--json', 'print the result as JSON');
  if (asksDaemon(name)) {
    command
      .option('--data <DIR>', 'the data directory of the daemon (default: JNBD_DATA, ./jnbd-data)')
      .option('--connect <URL>', 'read from a daemon at http://HOST:PORT instead');
  }
  command.action(async () => {
    const options = command.opts<CommonOptions>();
    await runVerb(name, takes(command), {
      json: options.json ?? false,
      location: locate(options),
      startDaemon,
      exit,
    });
  });
}

function locate(options: CommonOptions): DaemonLocation {
  if (options.connect !== undefined) {
    if (options.data === undefined) return { kind: 'url', url: options.connect };
    throw new JnbdError('argument_invalid', 'give --data or --connect, not both');
  }
  const fromEnvironment = process.env['JNBD_DATA'] || undefined;
  const directory = options.data ?? fromEnvironment ?? dataDirectoryDefault;
  return { kind: 'directory', directory };
}
