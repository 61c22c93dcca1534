import net from 'node:net';
import tls from 'node:tls';
import { JnbdError, messageOf, systemErrorCode } from '../platform/errors.ts';
import { formatAddress, type ListenAddress } from '../platform/network.ts';
import { preSharedKeyCiphers } from '../platform/node-tls.ts';
import type { ClientTlsCredentials } from './tls.ts';

export interface ClientTls extends ClientTlsCredentials {
  /** False: any certificate will do. */
  readonly verifyPeer: boolean;
  /** The name that the certificate is to carry. */
  readonly hostName: string | undefined;
}

/** TLS over a connection that is already speaking. Throws JnbdError certificate_invalid. */
export async function secureSocket(
  plain: net.Socket,
  address: ListenAddress,
  credentials: ClientTls,
): Promise<tls.TLSSocket> {
  const { authority, certificate, key, preSharedKey, verifyPeer } = credentials;
  const host = expectedName(address, credentials);
  const options: tls.ConnectionOptions = {
    socket: plain,
    servername: net.isIP(host) === 0 ? host : '',
    host,
    minVersion: 'TLSv1.2',
    // Whoever has the key needs no certificate; that he has it is seen below.
    rejectUnauthorized: verifyPeer && !preSharedKey,
    ...(authority === undefined ? {} : { ca: authority }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key }),
  };
  if (preSharedKey) {
    options.ciphers = preSharedKeyCiphers.join(':');
    options.pskCallback = () => ({ identity: preSharedKey.identity, psk: preSharedKey.key });
    options.checkServerIdentity = () => undefined;
  }
  const secure = await new Promise<tls.TLSSocket>((resolve, reject) => {
    const failed = (cause?: unknown): void => reject(tlsFailure(address, credentials, cause));
    try {
      const socket = tls.connect(options);
      socket.once('secureConnect', () => resolve(socket));
      socket.once('error', failed);
      socket.once('close', () => failed());
    } catch (cause) {
      failed(cause);
    }
  });
  const isByCertificate = Object.keys(secure.getPeerCertificate()).length > 0;
  if (preSharedKey && verifyPeer && isByCertificate) {
    secure.destroy();
    throw tlsError(address, `${keyText(credentials)} was not used: it answers with a certificate`);
  }
  return secure;
}

/**
 * What went wrong, said by what the server was expected to be and which file or parameter of the URI
 * decides it. `cause` is the error of the socket; undefined: the server closed the connection.
 */
export function tlsFailure(
  address: ListenAddress,
  credentials: ClientTls,
  cause?: unknown,
): JnbdError {
  return tlsError(address, failureText(address, credentials, cause), cause);
}

function tlsError(address: ListenAddress, text: string, cause?: unknown): JnbdError {
  const message = `TLS with ${formatAddress(address)} cannot be established: ${text}`;
  return new JnbdError('certificate_invalid', message, { cause });
}

function expectedName(address: ListenAddress, { hostName }: ClientTls): string {
  return hostName ?? (address.kind === 'tcp' ? address.host : 'localhost');
}

function keyText({ preSharedKey, preSharedKeyFile }: ClientTls): string {
  const where = preSharedKeyFile === undefined ? '' : ` in ${preSharedKeyFile}`;
  return `the key of ${preSharedKey?.identity}${where}`;
}

function fileText({ directory }: ClientTls, name: string): string {
  return directory === undefined ? name : `${directory}/${name}`;
}

const ownCertificate = 'client-cert.pem';

function failureText(address: ListenAddress, credentials: ClientTls, cause: unknown): string {
  const code = systemErrorCode(cause) ?? '';
  const alert = /^ERR_SSL_\w+?_ALERT_(\w+)$/.exec(code)?.[1];
  if (alert !== undefined) return alertText(credentials, alert);
  if (cause === undefined || code === 'ECONNRESET') {
    const text = 'the server closed the connection';
    if (credentials.preSharedKey)
      return `${text}; perhaps it does not take ${keyText(credentials)}`;
    return credentials.certificate === undefined
      ? `${text}; perhaps it wants a certificate: ${wantedText(credentials)}`
      : `${text}; perhaps it does not accept ${fileText(credentials, ownCertificate)}`;
  }
  if (notSigned.has(code)) {
    return credentials.authority === undefined
      ? 'no authority that this system knows signed the certificate of the server; name the directory that has the ca-cert.pem of the right one: tls-certificates=DIR'
      : `the certificate of the server was not signed by the authority in ${fileText(credentials, 'ca-cert.pem')}`;
  }
  if (/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST)$/.test(code))
    return 'the server goes on without TLS after it agreed to it';
  if (/^ERR_SSL_(UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW)$/.test(code)) return tooOld;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return 'the certificate of the server, or of its authority, has expired';
    case 'CERT_NOT_YET_VALID':
      return 'the certificate of the server is not valid yet; compare the clocks of the two machines';
    case 'CERT_REVOKED':
      return 'the certificate of the server was revoked';
    case 'INVALID_PURPOSE':
      return 'the certificate of the server is not one for servers';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return nameText(expectedName(address, credentials), cause);
  }
  // Whatever comes here is said in OpenSSL's words, without the places in its source.
  const reason: unknown = typeof cause === 'object' && cause ? Reflect.get(cause, 'reason') : '';
  const said = typeof reason === 'string' && reason !== '' ? reason : messageOf(cause);
  return /^[0-9A-F]*:?error:/.test(said) ? code : said;
}

const tooOld = 'client and server have no version of TLS in common; 1.2 and 1.3 are spoken here';

const notSigned: ReadonlySet<string> = new Set([
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** What the server says before it ends (RFC 8446, section 6.2, and RFC 5246). */
function alertText(credentials: ClientTls, alert: string): string {
  const { preSharedKey, certificate } = credentials;
  if (alert === 'PROTOCOL_VERSION') return tooOld;
  if (alert === 'CERTIFICATE_REQUIRED')
    return `the server wants a certificate: ${wantedText(credentials)}`;
  if (preSharedKey) return `the server does not take ${keyText(credentials)}`;
  if (alert === 'HANDSHAKE_FAILURE') {
    return certificate === undefined
      ? `the server wants a certificate or a pre-shared key: ${wantedText(credentials)}, or name the file of keys: tls-psk-file=FILE`
      : `the server does not take certificates, or not ${fileText(credentials, ownCertificate)}; where it wants a pre-shared key, name the file: tls-psk-file=FILE`;
  }
  const said = alert.toLowerCase().replaceAll('_', ' ');
  return certificate === undefined
    ? `the server refuses it (${said})`
    : `the server does not accept ${fileText(credentials, ownCertificate)} (${said}); it must be signed by an authority that the server knows`;
}

function wantedText({ directory }: ClientTls): string {
  return directory === undefined
    ? 'name a directory with client-cert.pem and client-key.pem: tls-certificates=DIR'
    : `put client-cert.pem and client-key.pem into ${directory}`;
}

function nameText(expected: string, cause: unknown): string {
  const certificate: unknown =
    typeof cause === 'object' && cause ? Reflect.get(cause, 'cert') : undefined;
  const names: unknown =
    typeof certificate === 'object' && certificate
      ? Reflect.get(certificate, 'subjectaltname')
      : undefined;
  const found = typeof names === 'string' ? `is for ${names}` : 'names no host';
  return `the certificate of the server ${found}, not for ${expected}; where that is right, name it: tls-hostname=NAME`;
}
