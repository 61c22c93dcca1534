import { resolve } from 'node:path';
import { commandText } from '../control/client-command.ts';
import { verbs } from '../control/schema.ts';
import { createAuthority } from '../platform/certificate-authority.ts';
import type { LocalCommand } from './command.ts';
import { done } from './texts.ts';

export const command: LocalCommand<'pki init'> = {
  kind: 'local',
  name: 'pki init',
  async run(input, _context, print) {
    const { directory: given, name, days } = verbs['pki init'].parameters.parse(input);
    const { created, directory, fingerprint, validUntil } = await createAuthority(
      { directory: resolve(given), name, days },
      Date.now(),
    );
    const result = created ? 'done' : 'already_done';
    const text = [
      done(result, `authority in ${directory}, valid until ${validUntil.slice(0, 10)}`),
      `next, for each system: ${commandText('jnbd', 'pki', 'issue', given)} NAME`,
    ];
    print({ result, directory, fingerprint, validUntil }, text.join('\n'));
  },
};
