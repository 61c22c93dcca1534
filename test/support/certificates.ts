import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMilliseconds = 86_400_000;

type Keys = webcrypto.CryptoKeyPair;

interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly keys: Keys;
}

function makeKeys(): Promise<Keys> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<Keys>;
}

function validity() {
  return {
    notBefore: new Date(Date.now() - dayMilliseconds),
    notAfter: new Date(Date.now() + 30 * dayMilliseconds),
    serialNumber: randomBytes(12).toString('hex'),
  };
}

async function makeAuthority(name: string): Promise<Authority> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(),
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });
  return { certificate, keys };
}

async function writePair(
  directory: string,
  role: 'server' | 'client',
  authority: Authority,
): Promise<void> {
  const keys = await makeKeys();
  const usage =
    role === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(false),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([usage]),
  ];
  if (role === 'server') {
    extensions.push(
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
    );
  }
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity(),
    subject: `CN=${role}`,
    issuer: authority.certificate.subject,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    signingAlgorithm: algorithm,
    extensions,
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  writeFileSync(join(directory, `${role}-cert.pem`), certificate.toString('pem'));
  writeFileSync(join(directory, `${role}-key.pem`), x509.PemConverter.encode(key, 'PRIVATE KEY'), {
    mode: 0o600,
  });
  writeFileSync(join(directory, 'ca-cert.pem'), authority.certificate.toString('pem'));
}

/**
 * Makes `directory` with the certificates of a new authority under the names that libnbd, QEMU and
 * nbdkit look for: ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem, client-key.pem. The
 * server is `localhost` and 127.0.0.1.
 */
export async function writeCertificates(directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const authority = await makeAuthority('test authority');
  await writePair(directory, 'server', authority);
  await writePair(directory, 'client', authority);
}

/** Makes a key file with one user in the form of GnuTLS's psktool: `name:hexadecimal key`. */
export function writePreSharedKey(file: string, user: string): void {
  writeFileSync(file, `${user}:${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
}
