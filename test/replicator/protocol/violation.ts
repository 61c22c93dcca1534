import { must } from '../../../src/platform/assert.ts';
import { JnbdError } from '../../../src/platform/errors.ts';

/** The JnbdError that `run` throws, if it does; any other error goes on. */
export function violationOf(run: () => unknown): JnbdError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof JnbdError) return error;
    throw error;
  }
}

export function violation(run: () => unknown): JnbdError {
  return must(violationOf(run), 'an error is thrown');
}
