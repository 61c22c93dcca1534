/**
 * A small authority for the certificates of systems: one key in one directory, no revocation, no
 * intermediate authorities. Node.js reads certificates and cannot make them; the library that makes
 * them is loaded when one is made.
 */
import { randomBytes, webcrypto, type X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import {
  authorityCertificateFile,
  authorityFilesIn,
  authorityKeyFile,
  type CertificatePair,
  pairFiles,
  readCertificate,
  readSecretKey,
  writeAuthorityFiles,
  writeSystemFiles,
} from './certificate-files.ts';
import { alternativeNames, isHostName, sameHost } from './certificate-names.ts';
import { type CertificateRights, formatRights, rightsOf } from './certificate-rights.ts';
import { JnbdError, refusedBySystem } from './errors.ts';

/** With a space, so that no system has the name of its authority. */
function authoritySubject(name: string): string {
  return `CN=${name} authority`;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const hourMilliseconds = 3_600_000;
const dayMilliseconds = 24 * hourMilliseconds;
export const authorityDaysDefault = 3650;
export const certificateDaysDefault = 730;

export interface AuthorityOrder {
  readonly directory: string;
  readonly name: string | undefined;
  readonly days: number | undefined;
}

export interface CertificateOrder extends CertificateRights {
  readonly authorityDirectory: string;
  /** DNS names and IP addresses by which clients reach the system; `undefined`: by its name. */
  readonly hosts: readonly string[] | undefined;
  readonly days: number | undefined;
}

export interface Issued {
  /** False: it was there before, as ordered. */
  readonly created: boolean;
  readonly directory: string;
  /** SHA-256, lower-case hexadecimal digits. */
  readonly fingerprint: string;
  /** RFC 3339. */
  readonly validUntil: string;
  /** As which a server it can be. */
  readonly hosts: readonly string[];
}

/** Makes an authority; never touches one that is there. Throws JnbdError. */
export async function createAuthority(order: AuthorityOrder, now: number): Promise<Issued> {
  const { directory, name = 'jnbd', days = authorityDaysDefault } = order;
  const certificatePath = join(directory, authorityCertificateFile);
  const present = authorityFilesIn(directory);
  if (present.length > 0) {
    if (present.length === 1) {
      refuseDifferent(`${directory} has ${present[0]} and not the other file of an authority`);
    }
    const certificate = readCertificate(certificatePath);
    readSecretKey(join(directory, authorityKeyFile));
    const isNamed = order.name === undefined || certificate.subject === authoritySubject(name);
    if (!isNamed || !isValidFor(certificate, order.days, now)) {
      refuseDifferent(
        `${directory} has an authority ${describe(certificate)}; it is not overwritten`,
      );
    }
    return issued(false, directory, certificate);
  }
  const pair = await makeAuthorityPair(name, now, days);
  written(() => writeAuthorityFiles(directory, pair), `authority in ${directory}`);
  return issued(true, directory, readCertificate(certificatePath));
}

/** Makes a directory beside the authority's files; never touches one that is there. Throws JnbdError. */
export async function issueCertificate(order: CertificateOrder, now: number): Promise<Issued> {
  const { authorityDirectory, system } = order;
  const missing = 2 - authorityFilesIn(authorityDirectory).length;
  if (missing > 0) {
    throw new JnbdError(
      'certificate_invalid',
      `${authorityDirectory} has no authority; make one: jnbd pki init ${authorityDirectory}`,
    );
  }
  const authority = readCertificate(join(authorityDirectory, authorityCertificateFile));
  const directory = join(authorityDirectory, system);
  const certificatePath = join(directory, pairFiles[0][0]);
  if (existsSync(directory)) {
    const certificate = readCertificate(certificatePath);
    if (
      !certificate.verify(authority.publicKey) ||
      !isAsOrdered(certificate, order, authority, now)
    ) {
      refuseDifferent(
        `${directory} has a certificate ${describe(certificate)}; it is not overwritten: remove the directory for a new one`,
      );
    }
    return issued(false, directory, certificate);
  }
  if (Date.parse(authority.validTo) <= now) {
    throw new JnbdError(
      'certificate_invalid',
      `the authority in ${authorityDirectory} was valid until ${authority.validTo}; make a new one in another directory`,
    );
  }
  const pair = await makeSystemPair(order, authority, now);
  written(
    () => writeSystemFiles(directory, pair, authority.toString()),
    `certificate in ${directory}`,
  );
  return issued(true, directory, readCertificate(certificatePath));
}

function issued(created: boolean, directory: string, certificate: X509Certificate): Issued {
  return {
    created,
    directory,
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    validUntil: new Date(certificate.validTo).toISOString(),
    hosts: alternativeNames(certificate)?.hosts.map(sameHost) ?? [],
  };
}

function refuseDifferent(message: string): never {
  throw new JnbdError('exists_differently', message);
}

function describe(certificate: X509Certificate): string {
  return `of ${certificate.subject.replaceAll('\n', ', ')}, valid until ${certificate.validTo}, ${
    certificate.subjectAltName ?? 'without names'
  }`;
}

/** Whether it is valid today, and was made for so many days, or up to `end` where that is sooner. */
function isValidFor(
  certificate: X509Certificate,
  days: number | undefined,
  now: number,
  end = Number.POSITIVE_INFINITY,
): boolean {
  const to = Date.parse(certificate.validTo);
  if (to <= now) return false;
  if (days === undefined) return true;
  const from = Date.parse(certificate.validFrom) + hourMilliseconds;
  // Times of certificates are whole seconds.
  return Math.abs(Math.min(from + days * dayMilliseconds, end) - to) < 2000;
}

/** Not every name of a system is a DNS name; without hosts it is for clients alone. */
function hostsOf({ hosts, system }: CertificateOrder): readonly string[] {
  return hosts ?? (isHostName(system) ? [system] : []);
}

function isAsOrdered(
  certificate: X509Certificate,
  order: CertificateOrder,
  authority: X509Certificate,
  now: number,
): boolean {
  const rights = rightsOf(certificate);
  const names = alternativeNames(certificate);
  if (!rights || !names) return false;
  const isSame = (one: readonly string[], other: readonly string[]): boolean =>
    one.toSorted().join() === other.toSorted().join();
  return (
    isSame(formatRights(rights), formatRights(order)) &&
    isSame(names.hosts.map(sameHost), hostsOf(order).map(sameHost)) &&
    isValidFor(certificate, order.days, now, Date.parse(authority.validTo))
  );
}

function written(write: () => void, what: string): void {
  try {
    write();
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', what) ?? error;
  }
}

async function loadX509() {
  // The library keeps its tables in what this one adds to Reflect.
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/** From an hour ago, so that a clock that is late takes it too. */
function validity(now: number, days: number, end = Number.POSITIVE_INFINITY) {
  return {
    notBefore: new Date(now - hourMilliseconds),
    notAfter: new Date(Math.min(now + days * dayMilliseconds, end)),
    // Positive, and never shorter than it is.
    serialNumber: `7${randomBytes(16).toString('hex').slice(1)}`,
  };
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  return keys as webcrypto.CryptoKeyPair;
}

async function keyText(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const lines = bytes.toString('base64').replace(/.{1,64}/g, '$&\n');
  return `-----BEGIN PRIVATE KEY-----\n${lines}-----END PRIVATE KEY-----\n`;
}

async function makeAuthorityPair(
  name: string,
  now: number,
  days: number,
): Promise<CertificatePair> {
  const x509 = await loadX509();
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity(now, days),
    name: authoritySubject(name),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await keyText(keys) };
}

async function makeSystemPair(
  order: CertificateOrder,
  authority: X509Certificate,
  now: number,
): Promise<CertificatePair> {
  const secret = readSecretKey(join(order.authorityDirectory, authorityKeyFile));
  if (!authority.checkPrivateKey(secret)) {
    throw new JnbdError(
      'certificate_invalid',
      `${authorityKeyFile} and ${authorityCertificateFile} in ${order.authorityDirectory} do not belong together`,
    );
  }
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(authority.raw);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    secret.export({ type: 'pkcs8', format: 'der' }),
    algorithm,
    false,
    ['sign'],
  );
  const keys = await makeKeys();
  const days = order.days ?? certificateDaysDefault;
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity(now, days, Date.parse(authority.validTo)),
    subject: `CN=${order.system}`,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...hostsOf(order).map((value) => {
          return { type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value };
        }),
        ...formatRights(order).map((value) => ({ type: 'url' as const, value })),
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await keyText(keys) };
}
