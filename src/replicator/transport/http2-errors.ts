import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';

/**
 * How far a connection had come: `connecting` until TCP stands, `shaking` in the TLS handshake,
 * `greeting` until the source's first HTTP/2 frame, `open` from there on.
 */
export type ConnectionPhase = 'connecting' | 'shaking' | 'greeting' | 'open';

/** What OpenSSL says when it is our certificate that the source does not take. */
const alertPattern = /^ERR_SSL_(?:TLSV\d+|SSLV3)_ALERT_(?:.*CERT|UNKNOWN_CA|.*ACCESS_DENIED)/;

/** Why a connection to `url` could not be made or went away, as an error that can be told. */
export function connectionError(url: string, phase: ConnectionPhase, cause: unknown): JnbdError {
  const text = cause === undefined ? 'it closed the connection' : messageOf(cause);
  const code = systemErrorCode(cause) ?? '';
  if (alertPattern.test(code)) {
    const message = `${url} does not accept the certificate of this system (${text}); it must be signed by the authority that the source trusts, and be valid now`;
    return new JnbdError('certificate_refused', message, { cause });
  }
  switch (phase) {
    case 'connecting':
      return new JnbdError('peer_unreachable', `cannot reach ${url}: ${text}`, { cause });
    case 'shaking':
      return shakingError(url, code, text, cause);
    case 'greeting': {
      if (code.startsWith('ERR_HTTP2_')) return notOurs(url, text, cause);
      const hint = url.startsWith('https:')
        ? 'it may not accept the certificate of this system; its log says so'
        : 'if it wants TLS, use https://';
      const message = `${url} took the connection and said nothing (${text}); ${hint}`;
      return new JnbdError('connection_lost', message, { cause });
    }
    case 'open':
      return new JnbdError('connection_lost', `the connection to ${url} broke: ${text}`, { cause });
  }
}

function shakingError(url: string, code: string, text: string, cause: unknown): JnbdError {
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    const message = `${url} does not speak TLS (${text}); if that is meant, use http://`;
    return new JnbdError('protocol_violated', message, { cause });
  }
  // The system's own words are of the network; anything else is about the source's certificate.
  if (code === '' || /^E[A-Z]+$/.test(code) || code.startsWith('ERR_SSL_')) {
    const message = `the TLS handshake with ${url} failed: ${text}`;
    return new JnbdError('connection_lost', message, { cause });
  }
  const message = `the certificate of ${url} is not accepted: ${text}; it must be signed by the authority that this system trusts, name that host, and be valid now`;
  return new JnbdError('certificate_refused', message, { cause });
}

/** Something else answers there. */
export function notOurs(url: string, text: string, cause?: unknown): JnbdError {
  const message = `what answers at ${url} does not speak HTTP/2 (${text}); give the --listen address of a jnbd system`;
  return new JnbdError('protocol_violated', message, { cause });
}

export function silentError(url: string, what: string, milliseconds: number): JnbdError {
  return new JnbdError('peer_silent', `${url} ${what} for ${Math.round(milliseconds)} ms`);
}
