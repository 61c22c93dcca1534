import { createPrivateKey, X509Certificate } from 'node:crypto';
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
  /** Where the certificates, and the key, were read; for people. */
  readonly directory?: string;
  readonly preSharedKeyFile?: string;
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

/** OpenSSL says what it missed in words of its own; the cause has them. */
function readCertificate(path: string): string {
  const text = read(path);
  try {
    new X509Certificate(text);
  } catch (cause) {
    return refuse(`${path} holds no certificate in PEM form`, cause);
  }
  return text;
}

function readPair(directory: string, role: 'server' | 'client'): { own: string; key: string } {
  const path = join(directory, `${role}-key.pem`);
  const own = readCertificate(join(directory, `${role}-cert.pem`));
  const key = read(path);
  let isPair: boolean;
  try {
    isPair = new X509Certificate(own).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    return refuse(`${path} holds no private key in PEM form that needs no password`, cause);
  }
  if (isPair) return { own, key };
  return refuse(`${role}-cert.pem and ${role}-key.pem in ${directory} do not belong together`);
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
            authority: readCertificate(join(directory, 'ca-cert.pem')),
            ...readPair(directory, 'server'),
          },
        }),
    ...(preSharedKeyFile === undefined
      ? {}
      : { preSharedKeys: readPreSharedKeys(preSharedKeyFile) }),
  };
  try {
    secureContextOf(credentials);
  } catch (cause) {
    return refuse(`the certificates in ${directory ?? ''} cannot be used for TLS`, cause);
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

/** Throws JnbdError certificate_invalid, naming the file. What a client has; a certificate of its own only where the files are. */
export function loadClientTls(
  directory: string | undefined,
  preSharedKeyFile: string | undefined,
  userName: string | undefined,
): ClientTlsCredentials {
  const credentials: {
    -readonly [Key in keyof ClientTlsCredentials]: ClientTlsCredentials[Key];
  } = {};
  if (directory !== undefined) {
    credentials.directory = directory;
    credentials.authority = readCertificate(join(directory, 'ca-cert.pem'));
    if (existsSync(join(directory, 'client-cert.pem'))) {
      const { own, key } = readPair(directory, 'client');
      credentials.certificate = own;
      credentials.key = key;
    }
  }
  if (preSharedKeyFile !== undefined) {
    const keys = readPreSharedKeys(preSharedKeyFile);
    const identity = userName ?? [...keys.keys()][0] ?? '';
    const key = keys.get(identity);
    if (!key) return refuse(`${preSharedKeyFile} has no key for ${identity}`);
    credentials.preSharedKeyFile = preSharedKeyFile;
    credentials.preSharedKey = { identity, key };
  }
  return credentials;
}
