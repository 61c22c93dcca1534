import { createPrivateKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { JnbdError, messageOf } from './errors.ts';

/** PEM texts of a certificate and its key. */
export interface CertificatePair {
  readonly certificate: string;
  readonly key: string;
}

export const authorityCertificateFile = 'ca-cert.pem';
export const authorityKeyFile = 'ca-key.pem';
/**
 * The names that NBD tools look for, as servers and as clients. A system is both, with one key.
 */
export const pairFiles = [
  ['server-cert.pem', 'server-key.pem'],
  ['client-cert.pem', 'client-key.pem'],
] as const;

const readableMode = 0o644;
const secretMode = 0o600;
const secretDirectoryMode = 0o700;
const othersMask = 0o077;

function refuse(message: string, cause?: unknown): never {
  throw new JnbdError('certificate_invalid', message, { cause });
}

/** Throws JnbdError certificate_invalid, naming the file. */
export function readCertificate(path: string): X509Certificate {
  try {
    return new X509Certificate(readFileSync(path));
  } catch (cause) {
    return refuse(`${path} cannot be read as a certificate: ${messageOf(cause)}`, cause);
  }
}

/** Also throws where others than its owner may read it. */
export function readSecretKey(path: string): KeyObject {
  try {
    if ((statSync(path).mode & othersMask) === 0) return createPrivateKey(readFileSync(path));
  } catch (cause) {
    return refuse(`${path} cannot be read as a key: ${messageOf(cause)}`, cause);
  }
  return refuse(`${path} can be read by others than its owner; chmod 600 it, or make a new one`);
}

/** The key first: a certificate that stands there has its key. Existing files stay: EEXIST. */
export function writeAuthorityFiles(directory: string, pair: CertificatePair): void {
  makeDirectory(directory);
  writeNew(join(directory, authorityKeyFile), pair.key, secretMode);
  writeNew(join(directory, authorityCertificateFile), pair.certificate, readableMode);
  syncDirectory(directory);
}

/**
 * Makes `directory`, which must not be there, with everything a system needs to speak TLS. It appears
 * under its name only when it is complete.
 */
export function writeSystemFiles(
  directory: string,
  pair: CertificatePair,
  authorityCertificate: string,
): void {
  const parent = dirname(directory);
  const unfinished = join(parent, `.unfinished-${randomBytes(8).toString('hex')}`);
  mkdirSync(unfinished, { mode: secretDirectoryMode });
  try {
    writeNew(join(unfinished, authorityCertificateFile), authorityCertificate, readableMode);
    for (const [certificateFile, keyFile] of pairFiles) {
      writeNew(join(unfinished, keyFile), pair.key, secretMode);
      writeNew(join(unfinished, certificateFile), pair.certificate, readableMode);
    }
    syncDirectory(unfinished);
    renameSync(unfinished, directory);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
  syncDirectory(parent);
}

/** What of an authority is in a directory. */
export function authorityFilesIn(directory: string): string[] {
  const files = [authorityKeyFile, authorityCertificateFile];
  return files.filter((file) => existsSync(join(directory, file)));
}

/** With its parents. (Node.js goes round in circles where a file system refuses a recursive mkdir by ENOENT.) */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  const parent = dirname(directory);
  makeDirectory(parent);
  mkdirSync(directory, secretDirectoryMode);
  syncDirectory(parent);
}

function writeNew(path: string, text: string, mode: number): void {
  const descriptor = openSync(path, 'wx', mode);
  try {
    // Whatever the process's mask takes away or lets through.
    fchmodSync(descriptor, mode);
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
