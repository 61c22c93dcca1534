import type { Member } from '../../group/catalog/members.ts';
import { KiB, namePattern, updateNumberMax } from '../../platform/limits.ts';
import { parseWhole, type WireHeaders, wrongHeader as wrong } from './wire-headers.ts';

/** Systems of a group that one message can name. */
export const membersMax = 32;
const urlCharactersMax = 100;
/** Beside whatever else stands in headers. */
const membersBytesMax = 6 * KiB;
const headerName = 'jnbd-members';

/** Left out where there are none; so are those that find no room in a message. */
export function encodeMembers(members: readonly Member[]): WireHeaders {
  const text = formatMembers(members);
  return text === '' ? {} : { [headerName]: text };
}

/** The same as a text: empty where there are none. */
export function formatMembers(members: readonly Member[]): string {
  const texts: string[] = [];
  let bytes = 0;
  for (const member of members.slice(0, membersMax)) {
    const text = formatMember(member);
    bytes += text.length + 1;
    if (bytes > membersBytesMax) break;
    texts.push(text);
  }
  return texts.join(',');
}

function formatMember({ systemId, received, name, url }: Member): string {
  const isTold = url !== undefined && url.length <= urlCharactersMax;
  return `${systemId}=${received}=${name}${isTold ? `=${encodeURIComponent(url)}` : ''}`;
}

/** Throws JnbdError protocol_violated. */
export function decodeMembers(headers: WireHeaders): Member[] {
  const text = headers[headerName];
  return text === undefined ? [] : membersIn(text);
}

/** What `formatMembers` makes. Throws JnbdError protocol_violated. */
export function parseMembers(text: string): Member[] {
  return text === '' ? [] : membersIn(text);
}

function membersIn(text: string): Member[] {
  const parts = text.split(',', membersMax + 1);
  if (parts.length > membersMax) {
    wrong(headerName, `${text.slice(0, 40)}...`, `at most ${membersMax} systems`);
  }
  const seen = new Set<number>();
  return parts.map((part) => {
    const [id, number, name = '', address, ...more] = part.split('=');
    const systemId = parseWhole(id, updateNumberMax);
    const received = parseWhole(number, updateNumberMax);
    const url = address === undefined ? undefined : urlIn(address);
    const isMember =
      systemId !== undefined && received !== undefined && namePattern.test(name) && url !== '';
    if (!isMember || more.length > 0 || seen.has(systemId)) {
      return wrong(headerName, part.slice(0, 60), 'SYSTEM=RECEIVED=NAME[=URL], each system once');
    }
    seen.add(systemId);
    return { systemId, received, name, url };
  });
}

/** Empty: it is none. */
function urlIn(text: string): string {
  try {
    const url = decodeURIComponent(text);
    return /^https?:\/\/[^/\s]+\/?$/.test(url) && url.length <= urlCharactersMax ? url : '';
  } catch {
    return '';
  }
}
