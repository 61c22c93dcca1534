import { JnbdError } from '../../platform/errors.ts';
import { namePattern } from '../../platform/limits.ts';

/** Throws argument_invalid unless this can name a system, group or volume. */
export function checkName(what: string, name: string): void {
  if (namePattern.test(name)) return;
  throw new JnbdError(
    'argument_invalid',
    `${what} name '${name}' is not valid; a letter or digit, then up to 63 letters, digits, '.', '_' or '-'`,
  );
}
