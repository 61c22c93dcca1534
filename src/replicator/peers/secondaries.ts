import { allowFollower, dropFollower } from '../../group/system/followers-allowed.ts';
import type { SecondaryWish } from '../../group/catalog/follow-wish.ts';
import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import { type ErrorKind, JnbdError } from '../../platform/errors.ts';
import { KiB } from '../../platform/limits.ts';
import { askToFollow, askToUnfollow } from './remote-follow.ts';
import type { ClientCredentials, Transport, TransportClient } from '../transport/transport.ts';
import type { Caller } from '../protocol/wire.ts';

export interface SecondariesDependencies {
  readonly transport: Transport;
  readonly credentials: ClientCredentials | undefined;
  readonly listenPort: () => number;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const windowBytes = 64 * KiB;
/** The other system has said no, and done nothing. */
const saidNo: readonly ErrorKind[] = ['refused', 'not_found', 'usage'];

/** Brings other systems to follow groups of this one, and to leave them (K11). */
export class Secondaries {
  readonly #system: System;
  readonly #deps: SecondariesDependencies;

  constructor(system: System, deps: SecondariesDependencies) {
    this.#system = system;
    this.#deps = deps;
  }

  /**
   * The other system is allowed to follow, and asked to. False: it does already. Where it says no it is not
   * allowed any more than before; where no answer came it may follow all the same.
   */
  async add(wish: SecondaryWish): Promise<{ group: Group; changed: boolean }> {
    const { secondary, url, groupThere, journalOnly, journalCapacityBytes } = wish;
    const group = this.#system.group(wish.group);
    if (secondary === this.#system.name) {
      throw new JnbdError(
        'follow_loop',
        `system ${secondary} is this one, and cannot follow itself; if another one goes by the same name, give it another: stop it, and start it with jnbd serve --rename NAME`,
      );
    }
    const isNew = allowFollower(group, secondary);
    const client = this.#connect(url);
    try {
      const changed = await askToFollow(client, this.#caller, groupThere ?? group.name, {
        target: secondary,
        groupId: group.catalog.groupId,
        sourceGroup: group.name,
        listenPort: this.#deps.listenPort(),
        journalOnly,
        synchronous: wish.synchronous,
        journalCapacityBytes: journalCapacityBytes ?? null,
      });
      if (changed) {
        this.#tell(
          'secondary_added',
          group,
          `system ${secondary} at ${url} follows group ${group.name}`,
        );
      }
      return { group, changed: changed || isNew };
    } catch (error) {
      const isRefused = error instanceof JnbdError && saidNo.includes(error.kind);
      const now = this.#system.groups.get(group.name);
      if (isNew && isRefused && now) dropFollower(now, secondary);
      throw error;
    } finally {
      client.close();
    }
  }

  /** Nothing is kept for the other system any more, and it is told so where it can be reached. */
  async remove(name: string, secondary: string): Promise<{ group: Group; changed: boolean }> {
    const group = this.#system.group(name);
    const known = group.followers.list().filter((follower) => follower.name === secondary);
    for (const { listens } of known) {
      if (listens) await this.#tellRemoved(group, secondary, listens.url);
    }
    // Its journal may have begun anew meanwhile.
    const now = this.#system.group(name);
    const changed = dropFollower(now, secondary) || known.length > 0;
    return { group: now, changed };
  }

  async #tellRemoved(group: Group, secondary: string, url: string): Promise<void> {
    const client = this.#connect(url);
    try {
      await askToUnfollow(client, this.#caller, group.catalog.groupId);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.#tell(
        'secondary_untold',
        group,
        `system ${secondary} was not told that it follows group ${group.name} no more: ${error.message}`,
      );
    } finally {
      client.close();
    }
  }

  #connect(url: string): TransportClient {
    const { transport, credentials } = this.#deps;
    const trust = credentials ? { credentials } : {};
    return transport.connect({ url, connections: 1, windowBytes, ...trust });
  }

  get #caller(): Caller {
    return { systemId: this.#system.systemId, name: this.#system.name };
  }

  #tell(code: string, group: Group, message: string): void {
    this.#deps.event(code, message, { group: group.name });
  }
}
