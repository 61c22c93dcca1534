/** The verbs about certificates: they need no daemon. */
import { z } from 'zod';
import { argument, flag, option, outcome } from './schema-parameters.ts';
import { commaList, count, groupName, hostName } from './schema-values.ts';

const path = z.string().min(1, { error: 'give a path' });
const certificateResult = {
  fingerprint: z.string().meta({ description: 'SHA-256, hexadecimal' }),
  validUntil: z.string().meta({ description: 'RFC 3339' }),
};

export const pkiVerbs = {
  'pki init': {
    kind: 'local',
    isAlone: true,
    parameters: z.strictObject({
      directory: argument('<DIR>', 'where the authority is to be', path),
      name: option('--name <NAME>', 'what it is called (default jnbd)', groupName),
      days: option('--days <COUNT>', 'how long it is valid (default 3650)', count(1)),
    }),
    result: z.strictObject({
      result: outcome,
      directory: z.string(),
      ...certificateResult,
    }),
    details:
      'Makes ca-cert.pem, which everybody may have, and ca-key.pem, which must stay here.\n' +
      'What is there is never overwritten.',
  },
  'pki issue': {
    kind: 'local',
    isAlone: true,
    parameters: z.strictObject({
      directory: argument('<DIR>', 'where the authority is', path),
      system: argument('<NAME>', 'name of the system that the certificate is for', groupName),
      groups: option(
        '--groups <GROUP,...>',
        'the only groups that it may touch on other systems (default: all)',
        commaList(groupName),
      ),
      readOnly: flag('--read-only', 'it may follow others and read their status, not change them'),
      hosts: option(
        '--hosts <HOST,...>',
        'DNS names and IP addresses by which others reach it (default: its name)',
        commaList(hostName),
      ),
      days: option('--days <COUNT>', 'how long it is valid (default 730)', count(1)),
    }),
    result: z.strictObject({
      result: outcome,
      directory: z.string(),
      system: z.string(),
      groups: z.array(z.string()).nullable().meta({ description: 'null: all' }),
      access: z.enum(['read', 'change']),
      hosts: z.array(z.string()),
      ...certificateResult,
    }),
    details:
      'Makes DIR/NAME with all that serve --tls-dir and NBD tools look for: ca-cert.pem, and one\n' +
      'certificate and key as server-cert.pem, server-key.pem, client-cert.pem and client-key.pem.\n' +
      'Copy it to the system it is for. What is there is never overwritten.',
  },
} as const;
