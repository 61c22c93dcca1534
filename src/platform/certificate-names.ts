import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/** What a certificate says its owner is called (RFC 5280, 4.2.1.6). */
export interface AlternativeNames {
  readonly hosts: readonly string[];
  readonly uris: readonly string[];
}

const kindOf: Readonly<Record<string, keyof AlternativeNames>> = {
  DNS: 'hosts',
  'IP Address': 'hosts',
  URI: 'uris',
};

/**
 * Reads what Node.js makes of the extension: `DNS:a, IP Address:127.0.0.1, URI:"b,c"`, a value in the
 * quotes and escapes of JSON wherever it could be taken for something else. `undefined` for any other
 * text: names that cannot be read must not be guessed.
 */
export function alternativeNames({
  subjectAltName,
}: Pick<X509Certificate, 'subjectAltName'>): AlternativeNames | undefined {
  const names: Record<keyof AlternativeNames, string[]> = { hosts: [], uris: [] };
  const text: string | undefined = subjectAltName;
  if (text === undefined) return names;
  const entry = /([A-Za-z][A-Za-z ]*):(?:("(?:[^"\\]|\\.)*")|([^",]*))(, |$)/y;
  let isLast = false;
  while (!isLast) {
    const found = entry.exec(text);
    if (!found) return undefined;
    const [, type = '', quoted, plain = '', separator] = found;
    const value = quoted === undefined ? plain : unquote(quoted);
    if (value === undefined) return undefined;
    const kind = kindOf[type];
    if (kind) names[kind].push(value);
    isLast = separator === '';
  }
  return names;
}

function unquote(text: string): string | undefined {
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}

/** One text for all that an address or name is written as. */
export function sameHost(host: string): string {
  if (isIP(host) !== 6) return host.toLowerCase();
  return new URL(`http://[${host}]`).hostname.slice(1, -1);
}

/** Whether a certificate can name it. */
export function isHostName(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
  return text.length <= 253 && new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`).test(text);
}
