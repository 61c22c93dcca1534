import type { Group } from '../../group/order/group.ts';
import { findDamages } from '../../group/system/own-damages.ts';
import type { System } from '../../group/system/system.ts';
import { SnapshotContents } from '../../group/snapshots/snapshot-contents.ts';
import { isIncomplete } from '../../group/volumes/missing-contents.ts';
import type { Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { checkCertificate } from '../peers/peer-rights.ts';
import { decodeCaller } from '../protocol/wire.ts';
import { jsonAnswer, type JsonAnswer, problemAnswer } from '../protocol/wire-json.ts';
import {
  decodeContentsRange,
  decodeHashedRange,
  type VerifyRoute,
  verifyRouteOf,
  type ViewRange,
} from '../protocol/wire-verify.ts';
import type { IncomingRequest } from '../transport/transport.ts';
import type { VerificationSnapshots } from './verification-snapshots.ts';
import type { VerifyPeer } from './verify-peer.ts';
import type { CopyTurns } from '../../group/volumes/copy-turns.ts';

export interface VerifyRequestsDependencies {
  readonly system: System;
  readonly snapshots: VerificationSnapshots;
  readonly turns: CopyTurns;
  /** Whether systems that showed no certificate may follow (`--insecure`). */
  readonly isOpenToAll: boolean;
  /** The system that a secondary follows: to be closed. Throws state_refuses where it follows nobody. */
  readonly source: (group: Group) => VerifyPeer;
}

/** Of one group: each has its buffer, and they share what may be read. */
const viewsMax = 8;
/** Maps of older snapshots are in memory while somebody reads them. */
const idleMilliseconds = 30_000;

/** Answers other systems that compare what they have with what this one has. */
export class VerifyRequests {
  readonly #deps: VerifyRequestsDependencies;
  readonly #views = new WeakMap<Group, number>();
  readonly #idle = new WeakMap<Group, Timer>();

  constructor(deps: VerifyRequestsDependencies) {
    this.#deps = deps;
  }

  /** Undefined: it is about something else. */
  answer(incoming: IncomingRequest): Promise<JsonAnswer> | undefined {
    const route = verifyRouteOf(incoming.method, incoming.path);
    return route && this.#answer(route, incoming);
  }

  async #answer(route: VerifyRoute, incoming: IncomingRequest): Promise<JsonAnswer> {
    try {
      const group = this.#groupFor(route.groupId, incoming);
      switch (route.kind) {
        case 'begin':
          return jsonAnswer(200, { number: await this.#begin(group) });
        case 'renew':
          await this.#renew(group, route.number);
          return jsonAnswer(200, { number: route.number });
        case 'end':
          await this.#end(group, route.number);
          return jsonAnswer(200, { result: 'done' });
        case 'checks':
          return jsonAnswer(200, await this.#checks(group));
        case 'hashes':
        case 'contents':
          return await this.#view(group, route, incoming);
      }
    } catch (error) {
      if (error instanceof JnbdError) return problemAnswer(error);
      throw error;
    }
  }

  /** Who follows the group here, or is followed, may read it (SAFETY 20). */
  #groupFor(groupId: string, { headers, identity }: IncomingRequest): Group {
    const { system, isOpenToAll } = this.#deps;
    const { systemId, name } = decodeCaller(headers);
    const group = system.findById(groupId);
    checkCertificate(identity, name, group?.name ?? '', 'read', isOpenToAll);
    if (!group) {
      const text = `there is no group ${groupId} on system ${system.name}`;
      throw new JnbdError('group_not_found', text);
    }
    const { state } = group.follow;
    const isSource = state?.sourceSystemId === systemId;
    if (isSource || group.followers.find(systemId)?.name === name) return group;
    throw new JnbdError(
      'follower_not_found',
      `system ${name} does not follow group ${group.name} of system ${system.name}, nor is it followed`,
    );
  }

  async #begin(group: Group): Promise<number> {
    if (group.role === 'primary') return (await this.#deps.snapshots.begin(group)).number;
    return this.#atSource(group, (source) => source.begin());
  }

  async #renew(group: Group, number: number): Promise<void> {
    if (group.role === 'primary') this.#deps.snapshots.renew(group, number);
    else await this.#atSource(group, (source) => source.renew(number));
  }

  async #end(group: Group, number: number): Promise<void> {
    if (group.role === 'primary') await this.#deps.snapshots.end(group, number);
    else await this.#atSource(group, (source) => source.end(number));
  }

  /** A snapshot comes from the primary, whoever is in between. */
  async #atSource<T>(group: Group, ask: (source: VerifyPeer) => Promise<T>): Promise<T> {
    const source = this.#deps.source(group);
    try {
      return await ask(source);
    } finally {
      source.close();
    }
  }

  async #checks(group: Group): Promise<object> {
    const { system, turns } = this.#deps;
    const damages = await findDamages(
      system.disk,
      system.filesOf(group),
      group,
      `${system.directory}/cuts`,
      (bytes) => turns.take(group, bytes),
    );
    const { journalOnly = false } = group.catalog;
    return { name: system.name, journalOnly, obstacle: obstacleOf(group), damages };
  }

  async #view(
    group: Group,
    { kind, number, volume }: VerifyRoute & { readonly kind: 'hashes' | 'contents' },
    { headers }: IncomingRequest,
  ): Promise<JsonAnswer> {
    const obstacle = obstacleOf(group);
    if (obstacle !== '') throw new JnbdError('group_state', obstacle);
    const contents = SnapshotContents.find(group, number, volume);
    const views = this.#views.get(group) ?? 0;
    if (views >= viewsMax) {
      const text = `group ${group.name} is being compared by ${viewsMax} requests already; try again`;
      throw new JnbdError('memory_exhausted', text);
    }
    this.#views.set(group, views + 1);
    try {
      const turn = (bytes: number): Promise<void> => this.#deps.turns.take(group, bytes);
      if (kind === 'hashes') {
        const { unitBytes, ...range } = decodeHashedRange(headers);
        const end = endOf(range, contents);
        return bytesAnswer(await contents.hashes(range.offset, end, unitBytes, turn));
      }
      const range = decodeContentsRange(headers);
      const bytes = Buffer.alloc(endOf(range, contents) - range.offset);
      await turn(bytes.length);
      await contents.read(range.offset, bytes.length, bytes);
      return bytesAnswer(bytes);
    } finally {
      this.#ended(group);
    }
  }

  #ended(group: Group): void {
    this.#views.set(group, (this.#views.get(group) ?? 1) - 1);
    this.#idle.get(group)?.cancel();
    const timer = group.clock.after(idleMilliseconds, () => group.snapshots.sessionClosed());
    this.#idle.set(group, timer);
  }
}

/** Why nothing here can be compared now; empty: it can. */
function obstacleOf(group: Group): string {
  const { name, state, failureText, follow, role } = group;
  if (state !== 'normal') return `group ${name} is ${state} there: ${failureText}`;
  if (role === 'diverged') return `group ${name} is diverged there: ${failureText}`;
  if (isIncomplete(group)) return `the contents of group ${name} are not complete there`;
  const isSuspended = role === 'secondary' && follow.state?.isSuspended === true;
  return isSuspended ? `receiving group ${name} is suspended there` : '';
}

/** Throws JnbdError protocol_violated. */
function endOf({ offset, length }: ViewRange, { dataBytes }: SnapshotContents): number {
  const end = offset + length;
  if (end <= dataBytes) return end;
  const text = `bytes up to ${end} of a volume were asked for that had ${dataBytes}`;
  throw new JnbdError('protocol_violated', text);
}

function bytesAnswer(body: Uint8Array): JsonAnswer {
  return {
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(body.length),
    },
    body,
  };
}
