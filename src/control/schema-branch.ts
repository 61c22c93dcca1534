/** The verbs about what a system had alone when it went back to the history of another one. */
import { z } from 'zod';
import { argument, flag, groupArgument, outcome } from './schema-parameters.ts';
import { branchStatus } from './schema-status.ts';

const branchArgument = argument(
  '<BRANCH>',
  'as branch list shows it',
  z.string().regex(/^[0-9]+-[0-9]+(-[0-9]+)?$/, {
    error: (issue) => `'${String(issue.input)}' is no branch; jnbd branch list shows them`,
  }),
);

export const branchVerbs = {
  'branch list': {
    kind: 'read',
    parameters: z.strictObject({ group: groupArgument }),
    result: z.strictObject({ branches: z.array(branchStatus) }),
  },
  'branch export': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      branch: branchArgument,
      to: argument(
        '--to <DIR>',
        'a directory that is not there yet, or empty, where the daemon runs',
        z.string().startsWith('/', { error: 'the directory is an absolute path' }),
      ),
    }),
    result: z.strictObject({
      result: z.literal('done'),
      branch: branchStatus,
      directory: z.string(),
    }),
    details: 'What is written there can be read with: jnbd journal inspect DIR --records',
  },
  'branch delete': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      branch: branchArgument,
      force: flag('--force', 'needed, because nobody else has these updates'),
    }),
    result: z.strictObject({ result: outcome }),
  },
} as const;
