import { resolve } from 'node:path';
import { verbs } from '../control/schema.ts';
import { issueCertificate } from '../platform/certificate-authority.ts';
import type { LocalCommand } from './command.ts';
import { done } from './texts.ts';

export const command: LocalCommand<'pki issue'> = {
  kind: 'local',
  name: 'pki issue',
  async run(input, _context, print) {
    const parameters = verbs['pki issue'].parameters.parse(input);
    const { system, groups, readOnly = false, hosts: wanted, days } = parameters;
    const access = readOnly ? 'read' : 'change';
    const { created, directory, fingerprint, validUntil, hosts } = await issueCertificate(
      {
        authorityDirectory: resolve(parameters.directory),
        system,
        groups: groups ?? 'all',
        access,
        hosts: wanted,
        days,
      },
      Date.now(),
    );
    const result = created ? 'done' : 'already_done';
    const day = validUntil.slice(0, 10);
    const reached =
      hosts.length === 0 ? 'for clients alone: it names no host (--hosts)' : hosts.join(', ');
    const touched = groups === undefined ? 'all groups' : `groups ${groups.join(', ')}`;
    const text = [
      done(result, `certificate of ${system} in ${directory}, valid until ${day}`),
      `  hosts:  ${reached}`,
      `  rights: ${readOnly ? 'to read' : 'to read and change'} ${touched}`,
      `next: copy the directory to ${system}, and there: jnbd serve --tls require --tls-dir DIR`,
    ];
    print(
      {
        result,
        directory,
        system,
        groups: groups ?? null,
        access,
        hosts: [...hosts],
        fingerprint,
        validUntil,
      },
      text.join('\n'),
    );
  },
};
