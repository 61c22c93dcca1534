import { JnbdError } from '../../platform/errors.ts';
import { namePattern } from '../../platform/limits.ts';

/** What a system is called that nobody named: as its host, as far as that is a name. */
export function systemNameOf(hostName: string): string {
  const name = hostName
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 64);
  return namePattern.test(name) ? name : 'jnbd';
}

/** Throws argument_invalid unless this can name a system, group or volume. */
export function checkName(what: string, name: string): void {
  if (namePattern.test(name)) return;
  throw new JnbdError(
    'argument_invalid',
    `${what} name '${name}' is not valid; a letter or digit, then up to 63 letters, digits, '.', '_' or '-'`,
  );
}
