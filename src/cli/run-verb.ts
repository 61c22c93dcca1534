import type { Command } from 'commander';
import { z } from 'zod';
import { ControlClient } from '../control/client.ts';
import { firstIssue, verbs } from '../control/schema.ts';
import type { VerbName } from '../control/schema-names.ts';
import { parameterTexts } from '../control/schema-parameters.ts';
import { JnbdError } from '../platform/errors.ts';
import type { ChangeCommand, CommandContext, LocalCommand, ReadCommand } from './command.ts';
import { printJson, printText } from './output.ts';

type AnyCommand = ChangeCommand | ReadCommand | LocalCommand;
type Values = Record<string, unknown>;

const watchMilliseconds = 1000;

/** Each verb's own file; the casts are because no type says "the command of this name". */
const commands: Record<VerbName, () => Promise<AnyCommand>> = {
  serve: async () => (await import('./serve.ts')).command as AnyCommand,
  status: async () => (await import('./status.ts')).command as AnyCommand,
  version: async () => (await import('./version.ts')).command as AnyCommand,
  'group create': async () => (await import('./group-create.ts')).command as AnyCommand,
  'group list': async () => (await import('./group-list.ts')).command as AnyCommand,
  'group show': async () => (await import('./group-show.ts')).command as AnyCommand,
  'group configure': async () => (await import('./group-configure.ts')).command as AnyCommand,
  'group delete': async () => (await import('./group-delete.ts')).command as AnyCommand,
  'volume create': async () => (await import('./volume-create.ts')).command as AnyCommand,
  'volume list': async () => (await import('./volume-list.ts')).command as AnyCommand,
  'volume show': async () => (await import('./volume-show.ts')).command as AnyCommand,
  'volume resize': async () => (await import('./volume-resize.ts')).command as AnyCommand,
  'volume configure': async () => (await import('./volume-configure.ts')).command as AnyCommand,
  'volume rollback': async () => (await import('./volume-rollback.ts')).command as AnyCommand,
  'volume delete': async () => (await import('./volume-delete.ts')).command as AnyCommand,
  'pki init': async () => (await import('./pki-init.ts')).command as AnyCommand,
  'pki issue': async () => (await import('./pki-issue.ts')).command as AnyCommand,
  follow: async () => (await import('./follow.ts')).command as AnyCommand,
  unfollow: async () => (await import('./unfollow.ts')).command as AnyCommand,
  suspend: async () => (await import('./suspend.ts')).command as AnyCommand,
  resume: async () => (await import('./resume.ts')).command as AnyCommand,
  promote: async () => (await import('./promote.ts')).command as AnyCommand,
  demote: async () => (await import('./demote.ts')).command as AnyCommand,
  handoff: async () => (await import('./handoff.ts')).command as AnyCommand,
  'branch list': async () => (await import('./branch-list.ts')).command as AnyCommand,
  'branch export': async () => (await import('./branch-export.ts')).command as AnyCommand,
  'branch delete': async () => (await import('./branch-delete.ts')).command as AnyCommand,
  'secondary list': async () => (await import('./secondary-list.ts')).command as AnyCommand,
  'secondary allow': async () => (await import('./secondary-allow.ts')).command as AnyCommand,
  'secondary add': async () => (await import('./secondary-add.ts')).command as AnyCommand,
  'secondary remove': async () => (await import('./secondary-remove.ts')).command as AnyCommand,
  'cut create': async () => (await import('./cut-create.ts')).command as AnyCommand,
  'cut mark': async () => (await import('./cut-mark.ts')).command as AnyCommand,
  'cut status': async () => (await import('./cut-status.ts')).command as AnyCommand,
  'cut promote': async () => (await import('./cut-promote.ts')).command as AnyCommand,
  'cut delete': async () => (await import('./cut-delete.ts')).command as AnyCommand,
  'snapshot create': async () => (await import('./snapshot-create.ts')).command as AnyCommand,
  'snapshot list': async () => (await import('./snapshot-list.ts')).command as AnyCommand,
  'snapshot export': async () => (await import('./snapshot-export.ts')).command as AnyCommand,
  'snapshot schedule': async () => (await import('./snapshot-schedule.ts')).command as AnyCommand,
  'snapshot delete': async () => (await import('./snapshot-delete.ts')).command as AnyCommand,
  'view create': async () => (await import('./view-create.ts')).command as AnyCommand,
  'view list': async () => (await import('./view-list.ts')).command as AnyCommand,
  'view delete': async () => (await import('./view-delete.ts')).command as AnyCommand,
  'view diff': async () => (await import('./view-diff.ts')).command as AnyCommand,
  'view prove': async () => (await import('./view-prove.ts')).command as AnyCommand,
  drill: async () => (await import('./drill.ts')).command as AnyCommand,
  verify: async () => (await import('./verify.ts')).command as AnyCommand,
  events: async () => (await import('./events.ts')).command as AnyCommand,
  wait: async () => (await import('./wait.ts')).command as AnyCommand,
};

/** Whether a verb wants to know where a daemon is. */
export function asksDaemon(name: VerbName): boolean {
  const { isAlone = false } = verbs[name] as { isAlone?: boolean };
  return !isAlone;
}

/** Puts the arguments and options of a verb on its command; the result collects what was given. */
export function addParameters(command: Command, name: VerbName): (command: Command) => Values {
  const { parameters } = verbs[name];
  const argumentNames: string[] = [];
  const optionNames: string[] = [];
  for (const [key, schema] of Object.entries(parameters.shape)) {
    const text = parameterTexts.get(schema);
    if (!text) continue;
    if (!text.form.startsWith('-')) {
      command.argument(text.form, text.help);
      argumentNames.push(key);
      continue;
    }
    optionNames.push(key);
    const isRequired = !(schema instanceof z.ZodOptional);
    if (isRequired) command.requiredOption(text.form, text.help);
    else if (text.repeatable) command.option(text.form, text.help, collect);
    else command.option(text.form, text.help);
  }
  const { details } = verbs[name] as { details?: string };
  if (details !== undefined) command.addHelpText('after', `\n${details}`);
  return (filled) => {
    const options = filled.opts<Values>();
    const values: Values = {};
    argumentNames.forEach((key, at) => {
      if (filled.args[at] !== undefined) values[key] = filled.args[at];
    });
    for (const key of optionNames) if (options[key] !== undefined) values[key] = options[key];
    return values;
  };
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** Throws JnbdError. */
export async function runVerb(
  name: VerbName,
  input: Values,
  context: CommandContext,
): Promise<void> {
  const command = await commands[name]();
  const print = (result: unknown, text: string): void =>
    context.json ? printJson(result) : printText(text);
  switch (command.kind) {
    case 'local':
      check(name, input);
      await command.run(input as never, context, print);
      return;
    case 'read':
      await runRead(command, check(name, input), context, print);
      return;
    case 'change':
      await runChange(command, input, context, print);
      return;
  }
}

async function runRead(
  command: ReadCommand,
  parameters: Values,
  context: CommandContext,
  print: (result: unknown, text: string) => void,
): Promise<void> {
  const client = new ControlClient(context.location);
  for (let isFirst = true; ; isFirst = false) {
    const result = command.read(await client.status(), parameters as never);
    const isWatched = command.repeats?.(parameters as never) ?? false;
    const text = command.text(result as never);
    if (isWatched && process.stdout.isTTY && !context.json) {
      process.stdout.write('\u001b[H\u001b[2J');
    }
    print(result, isFirst || process.stdout.isTTY ? text : `\n${text}`);
    if (!isWatched) return;
    await new Promise((resolve) => setTimeout(resolve, watchMilliseconds));
  }
}

async function runChange(
  command: ChangeCommand,
  input: Values,
  context: CommandContext,
  print: (result: unknown, text: string) => void,
): Promise<void> {
  const prepared = (command.prepare?.(input as never) ?? input) as Values;
  const parameters = check(command.name, prepared);
  const client = new ControlClient(context.location);
  const progress =
    !context.json && process.stderr.isTTY ? await command.startProgress?.() : undefined;
  try {
    const result = await client.change(command.name, prepared as never, (each) =>
      progress?.show(each),
    );
    progress?.end();
    print(result, command.text(result as never, parameters as never));
    context.exit(command.exitCode?.(result as never) ?? 0);
  } catch (error) {
    progress?.end();
    throw error;
  }
}

function check(name: VerbName, input: Values): Values {
  const parameters: z.ZodObject = verbs[name].parameters;
  const parsed = parameters.safeParse(input, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw new JnbdError(
    'argument_invalid',
    `${firstIssue(parameters, parsed.error)} (see jnbd ${name} --help)`,
  );
}
