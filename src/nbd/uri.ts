import { JnbdError } from '../platform/errors.ts';
import type { ListenAddress } from '../platform/network.ts';

/** Addresses of exports as users and other tools write them (doc/uri.md of NetworkBlockDevice/nbd). */
export interface NbdUri {
  readonly address: ListenAddress;
  /** May be empty: the default export. */
  readonly exportName: string;
  /** `nbds`: TLS, or nothing. */
  readonly isSecure: boolean;
  /** The identity for a pre-shared key. */
  readonly userName: string | undefined;
  readonly tls: {
    readonly type: 'anon' | 'x509' | 'psk' | undefined;
    /** The name that the server's certificate is to carry. */
    readonly hostName: string | undefined;
    readonly verifyPeer: boolean;
    /** A directory with `ca-cert.pem` and, where needed, `client-cert.pem` and `client-key.pem`. */
    readonly certificatesDirectory: string | undefined;
    readonly preSharedKeyFile: string | undefined;
  };
}

export const nbdPort = 10809;
const pattern = /^([a-z][a-z0-9+]*):\/\/(?:([^@/?#]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i;
const schemes = new Set(['nbd', 'nbds', 'nbd+unix', 'nbds+unix']);

export function isNbdUri(text: string): boolean {
  return schemes.has((/^([^:]*):/.exec(text)?.[1] ?? '').toLowerCase());
}

/** Throws JnbdError argument_invalid. */
export function parseNbdUri(text: string): NbdUri {
  const refuse = (reason: string): never => {
    throw new JnbdError('argument_invalid', `${text} is no usable NBD URI: ${reason}`);
  };
  const match = pattern.exec(text);
  const scheme = match?.[1]?.toLowerCase() ?? '';
  if (!match || !schemes.has(scheme)) {
    return refuse('write nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH');
  }
  const decode = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      return refuse(`${part} is not percent-encoded correctly`);
    }
  };
  const query = new Map<string, string>();
  for (const pair of (match[5] ?? '').split('&')) {
    if (pair === '') continue;
    const [name = '', ...value] = pair.split('=');
    query.set(decode(name).toLowerCase(), decode(value.join('=')));
  }
  const take = (name: string): string | undefined => {
    const value = query.get(name);
    query.delete(name);
    return value;
  };
  const path = decode(match[4] ?? '');
  const userName = match[2] === undefined ? undefined : decode(match[2]);
  const socket = take('socket');
  const type = take('tls-type');
  if (type !== undefined && type !== 'anon' && type !== 'x509' && type !== 'psk') {
    return refuse(`tls-type is anon, x509 or psk, not ${type}`);
  }
  const verify = take('tls-verify-peer');
  if (verify !== undefined && !/^([01]|true|false)$/.test(verify)) {
    return refuse(`tls-verify-peer is 0 or 1, not ${verify}`);
  }
  const uri: NbdUri = {
    address: scheme.endsWith('+unix')
      ? { kind: 'unix', path: socket || refuse('a Unix socket needs ?socket=PATH') }
      : parseAuthority(match[3] ?? '', refuse),
    exportName: path.replace(/^\//, ''),
    isSecure: scheme.startsWith('nbds'),
    userName: userName === '' ? undefined : userName,
    tls: {
      type,
      hostName: take('tls-hostname'),
      verifyPeer: verify !== '0' && verify !== 'false',
      certificatesDirectory: take('tls-certificates'),
      preSharedKeyFile: take('tls-psk-file'),
    },
  };
  if (socket !== undefined && uri.address.kind === 'tcp') {
    return refuse('socket= belongs to nbd+unix or nbds+unix');
  }
  for (const name of query.keys()) return refuse(`the parameter ${name} is not known`);
  return uri;
}

function parseAuthority(authority: string, refuse: (reason: string) => never): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d*))?$/.exec(authority);
  if (!match) return refuse(`${authority} is not HOST or HOST:PORT`);
  const port = match[3] ? Number(match[3]) : nbdPort;
  if (port < 1 || port > 65535) return refuse(`${port} is not a port`);
  return { kind: 'tcp', host: decodeURIComponent(match[1] ?? match[2] ?? '') || 'localhost', port };
}

/** The URI by which an export is reached at `address`. */
export function formatNbdUri(address: ListenAddress, exportName: string, isSecure = false): string {
  const scheme = isSecure ? 'nbds' : 'nbd';
  const path = exportName.split('/').map(encodeURIComponent).join('/');
  if (address.kind === 'unix') {
    return `${scheme}+unix:///${path}?socket=${encodeURIComponent(address.path).replaceAll('%2F', '/')}`;
  }
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  const port = address.port === nbdPort ? '' : `:${address.port}`;
  return `${scheme}://${host}${port}/${path}`;
}
