/**
 * What the certificate of a system allows it to do at others. It stands in URIs among the
 * certificate's alternative names, so that every tool that makes certificates can say it, and every
 * tool that shows them shows it:
 *
 *     urn:jnbd:system:NAME     which system it is; without this it is not the certificate of one
 *     urn:jnbd:group:NAME      one for each group it may touch; none: all groups
 *     urn:jnbd:access:read     only reading; absent: everything
 *
 * Any other `urn:jnbd:` may be a limit that a later version knows: then there are no rights at all.
 */
import { X509Certificate } from 'node:crypto';
import { alternativeNames } from './certificate-names.ts';
import { namePattern } from './limits.ts';

export interface CertificateRights {
  /** Name of the system that it was issued to. */
  readonly system: string;
  readonly groups: 'all' | readonly string[];
  /** `read`: journals and status, registration as a follower; `change`: every verb too. */
  readonly access: 'read' | 'change';
}

const prefix = 'urn:jnbd:';
const prefixPattern = /^urn:jnbd:/i;

/** As URIs of a certificate. */
export function formatRights({ system, groups, access }: CertificateRights): string[] {
  return [
    `${prefix}system:${system}`,
    ...(groups === 'all' ? [] : groups.map((group) => `${prefix}group:${group}`)),
    ...(access === 'read' ? [`${prefix}access:read`] : []),
  ];
}

/** `undefined`: it is not the certificate of a system, or what it says is not understood. */
export function parseRights(uris: readonly string[]): CertificateRights | undefined {
  const systems: string[] = [];
  const groups: string[] = [];
  let access: CertificateRights['access'] = 'change';
  for (const uri of uris) {
    if (!prefixPattern.test(uri)) continue;
    const [, kind, name = ''] = /^urn:jnbd:(system|group|access):(.+)$/.exec(uri) ?? [];
    if (kind === 'system' && namePattern.test(name)) systems.push(name);
    else if (kind === 'group' && namePattern.test(name)) groups.push(name);
    else if (kind === 'access' && name === 'read') access = 'read';
    else return undefined;
  }
  const [system] = systems;
  if (system === undefined || systems.length > 1) return undefined;
  return { system, groups: groups.length === 0 ? 'all' : [...new Set(groups)], access };
}

/**
 * The rights that a certificate gives, `raw` being its DER. That it is signed by the right authority,
 * and is valid today, was proved before. `undefined` as of `parseRights`.
 */
export function rightsOf({ raw }: { readonly raw: Uint8Array }): CertificateRights | undefined {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(raw);
  } catch {
    return undefined;
  }
  const names = alternativeNames(certificate);
  return names && parseRights(names.uris);
}
