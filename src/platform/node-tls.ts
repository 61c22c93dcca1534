import { constants } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import type { TlsCredentials } from './network.ts';

/**
 * What may be spoken: certificates with forward secrecy; pre-shared keys with it where the client can
 * (GnuTLS clients offer all of these). Node leaves keys out of its own list.
 */
const certificateCiphers = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
];
export const preSharedKeyCiphers = [
  // A key handed out of band is bound to SHA-256 in TLS 1.3; so this one must be acceptable.
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'ECDHE-PSK-AES256-CBC-SHA384',
  'ECDHE-PSK-AES128-CBC-SHA256',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-AES128-GCM-SHA256',
  'PSK-AES256-GCM-SHA384',
  'PSK-AES128-GCM-SHA256',
];

const contexts = new WeakMap<TlsCredentials, tls.SecureContext>();

/** Throws the system's error when a certificate or key cannot be read. */
export function secureContextOf(credentials: TlsCredentials): tls.SecureContext {
  const known = contexts.get(credentials);
  if (known) return known;
  const certificate = credentials.certificate;
  const ciphers = [
    ...(certificate ? certificateCiphers : []),
    ...(credentials.preSharedKeys ? preSharedKeyCiphers : []),
  ];
  const context = tls.createSecureContext({
    ...(certificate
      ? { ca: certificate.authority, cert: certificate.own, key: certificate.key }
      : {}),
    ciphers: [...new Set(ciphers)].join(':'),
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    honorCipherOrder: true,
    dhparam: 'auto',
    // OpenSSL treats a pre-shared key as a session that is resumed, and wants to know whose.
    sessionIdContext: 'nbd',
    // Connections live long: a ticket to come back faster is one more thing to steal.
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  contexts.set(credentials, context);
  return context;
}

/** The server's side of TLS over a connection that is already speaking. */
export class TlsUpgrade {
  readonly socket: tls.TLSSocket;

  /**
   * `done` is called once: with the reason when the handshake failed or the client is not accepted.
   * `protocols`: what can be spoken over it, if the client is to choose (ALPN).
   */
  constructor(
    plain: net.Socket,
    credentials: TlsCredentials,
    done: (failure: string | undefined) => void,
    protocols?: readonly string[],
  ) {
    const isCertificateWanted = credentials.certificate !== undefined;
    const options: tls.TLSSocketOptions & { pskCallback?: unknown } = {
      isServer: true,
      secureContext: secureContextOf(credentials),
      requestCert: isCertificateWanted,
      rejectUnauthorized: isCertificateWanted && credentials.clientCertificates === 'required',
      ...(protocols ? { ALPNProtocols: [...protocols] } : {}),
    };
    const keys = credentials.preSharedKeys;
    if (keys) {
      options.pskCallback = (_socket: unknown, identity: string) => keys.get(identity) ?? null;
    }
    const socket = new tls.TLSSocket(plain, options);
    this.socket = socket;
    let isDone = false;
    const finish = (failure: string | undefined): void => {
      if (isDone) return;
      isDone = true;
      done(failure);
    };
    socket.once('error', (error) => finish(error.message));
    socket.once('close', () => finish('closed during the TLS handshake'));
    socket.once('secure', () => {
      // As Node's own servers do; until then HTTP/2 would wait.
      Reflect.set(socket, 'secureConnecting', false);
      finish(refusal(socket, credentials));
    });
  }
}

/** Why the client is not accepted. A wrong certificate is refused also where none is required. */
function refusal(socket: tls.TLSSocket, credentials: TlsCredentials): string | undefined {
  if (!credentials.certificate) return undefined;
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return 'closed during the TLS handshake';
  const verify: unknown = Reflect.get(handle, 'verifyError');
  if (typeof verify !== 'function')
    return 'this Node.js cannot tell whether a certificate is valid';
  const error: unknown = Reflect.apply(verify, handle, []);
  if (!error) return undefined;
  const hasCertificate = Object.keys(socket.getPeerCertificate()).length > 0;
  if (!hasCertificate && credentials.clientCertificates === 'optional') return undefined;
  return error instanceof Error ? error.message : 'the certificate is not valid';
}
