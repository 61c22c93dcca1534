import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { JnbdError, messageOf } from '../platform/errors.ts';
import type { TlsCredentials } from '../platform/network.ts';
import { secureContextOf } from '../platform/node-tls.ts';

/**
 * Certificates and keys in the layout that NBD tools share: a directory with `ca-cert.pem`,
 * `server-cert.pem`, `server-key.pem` (clients: `client-cert.pem`, `client-key.pem`), and a file of
 * pre-shared keys with lines `user:hexadecimal key`.
 */
export interface ServerTlsFiles {
  readonly directory?: string;
  readonly preSharedKeyFile?: string;
  readonly clientCertificates: 'optional' | 'required';
}

export interface ClientTlsCredentials {
  readonly authority?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly preSharedKey?: { readonly identity: string; readonly key: Uint8Array };
}

function refuse(message: string, cause?: unknown): never {
  throw new JnbdError('certificate_invalid', message, { cause });
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    return refuse(`cannot read ${path}: ${messageOf(cause)}`, cause);
  }
}

/** Throws JnbdError certificate_invalid, naming the file. */
export function loadServerTls(files: ServerTlsFiles): TlsCredentials {
  const { directory, preSharedKeyFile, clientCertificates } = files;
  if (directory === undefined && preSharedKeyFile === undefined) {
    return refuse('TLS needs a directory with certificates, or a file of pre-shared keys');
  }
  const credentials: TlsCredentials = {
    clientCertificates,
    ...(directory === undefined
      ? {}
      : {
          certificate: {
            authority: read(join(directory, 'ca-cert.pem')),
            own: read(join(directory, 'server-cert.pem')),
            key: read(join(directory, 'server-key.pem')),
          },
        }),
    ...(preSharedKeyFile === undefined
      ? {}
      : { preSharedKeys: readPreSharedKeys(preSharedKeyFile) }),
  };
  try {
    secureContextOf(credentials);
  } catch (cause) {
    return refuse(
      `the certificates in ${directory ?? ''} cannot be used: ${messageOf(cause)}; ` +
        'server-cert.pem and server-key.pem must be PEM and belong together',
      cause,
    );
  }
  return credentials;
}

/** Throws JnbdError certificate_invalid, naming file and line. */
export function readPreSharedKeys(path: string): ReadonlyMap<string, Uint8Array> {
  const keys = new Map<string, Uint8Array>();
  read(path)
    .split('\n')
    .forEach((line, index) => {
      const text = line.trim();
      if (text === '') return;
      const colon = text.lastIndexOf(':');
      const hexadecimal = text.slice(colon + 1);
      if (colon < 1 || !/^([0-9a-f]{2}){8,64}$/i.test(hexadecimal)) {
        refuse(
          `${path}, line ${index + 1}: write user:key, the key as 16 to 128 hexadecimal digits ` +
            '(psktool -u USER makes such lines)',
        );
      }
      keys.set(text.slice(0, colon), Buffer.from(hexadecimal, 'hex'));
    });
  if (keys.size === 0) refuse(`${path} has no line user:key`);
  return keys;
}

/** What a client has; a certificate of its own only where the files are. */
export function loadClientTls(
  directory: string | undefined,
  preSharedKeyFile: string | undefined,
  userName: string | undefined,
): ClientTlsCredentials {
  const credentials: {
    -readonly [Key in keyof ClientTlsCredentials]: ClientTlsCredentials[Key];
  } = {};
  if (directory !== undefined) {
    credentials.authority = read(join(directory, 'ca-cert.pem'));
    if (existsSync(join(directory, 'client-cert.pem'))) {
      credentials.certificate = read(join(directory, 'client-cert.pem'));
      credentials.key = read(join(directory, 'client-key.pem'));
    }
  }
  if (preSharedKeyFile !== undefined) {
    const keys = readPreSharedKeys(preSharedKeyFile);
    const identity = userName ?? [...keys.keys()][0] ?? '';
    const key = keys.get(identity);
    if (!key) return refuse(`${preSharedKeyFile} has no key for ${identity}`);
    credentials.preSharedKey = { identity, key };
  }
  return credentials;
}
