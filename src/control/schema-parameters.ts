/** What definitions of verbs are made of. */
import { z } from 'zod';
import { groupStatus, onSyncLoss } from './schema-status.ts';
import { count, groupName, milliseconds, size } from './schema-values.ts';

/** How a parameter stands on the command line. */
export interface ParameterText {
  /** `--size <SIZE>` for an option, `<GROUP>` or `[GROUP]` for an argument. */
  readonly form: string;
  readonly help: string;
  readonly repeatable?: boolean;
}

export const parameterTexts = z.registry<ParameterText>();

/**
 * `local` verbs run in the program itself, `read` verbs need only GET /status, `change` verbs are
 * POST /verbs/NAME with the parameters as JSON, a space of the name written as a dash.
 */
export type VerbKind = 'local' | 'read' | 'change';

export interface VerbDefinition {
  readonly kind: VerbKind;
  /** It asks no daemon, so it takes no `--data` and no `--connect` to find one. */
  readonly isAlone?: boolean;
  readonly parameters: z.ZodObject;
  readonly result: z.ZodType;
  /** What one should know before using it; shown by --help. */
  readonly details?: string;
}

export function option<T extends z.ZodType>(
  form: string,
  help: string,
  value: T,
): z.ZodOptional<T> {
  const optional = value.optional();
  parameterTexts.add(optional, { form, help });
  return optional;
}

export function repeatable<T extends z.ZodType>(form: string, help: string, value: T) {
  const optional = z.array(value).optional();
  parameterTexts.add(optional, { form, help, repeatable: true });
  return optional;
}

export function flag(form: string, help: string) {
  return option(form, help, z.boolean());
}

export function argument<T extends z.ZodType>(form: string, help: string, value: T): T {
  // A copy: the same kind of value stands in several verbs under different texts.
  const own = value.clone();
  parameterTexts.add(own, { form, help });
  return own;
}

export const groupArgument = argument('<GROUP>', 'name of the group', groupName);
export const journalSizeOption = option(
  '--journal-size <SIZE>',
  'capacity of the journal (default 8GiB; of a followed group, as at its source)',
  size,
);
export const journalDirOption = repeatable(
  '--journal-dir <DIR>',
  'a directory for the journal; repeatable (default: in the data directory)',
  z.string().startsWith('/', { error: 'a journal directory is an absolute path' }),
);

/** `already_done`: everything was as asked for before. */
export const outcome = z.enum(['done', 'already_done']);
export const groupChanged = z.strictObject({ result: outcome, group: groupStatus });

/** Of a group: whom replies to its hosts wait for. */
export const synchronousOptions = {
  syncWait: option(
    '--sync-wait <COUNT>',
    'how many synchronous followers a reply to a host waits for: all (default) or a number',
    z.union([z.literal('all'), count(1)], { error: 'write all, or a number from 1 on' }),
  ),
  syncTimeout: option(
    '--sync-timeout <TIME>',
    'a synchronous follower that is not heard for so long is lost (default 5s)',
    milliseconds,
  ),
  onSyncLoss: option(
    '--on-sync-loss <POLICY>',
    'then hosts go on without it, and a condition says so (degrade, the default), or wait (stall)',
    onSyncLoss,
  ),
};
