import type { FollowState } from '../../group/catalog/follow-file.ts';
import type { Group } from '../../group/order/group.ts';
import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { leaseOf } from '../follower/source-lease.ts';
import { askLoad } from '../peers/load-request.ts';
import { unregister } from '../peers/registration.ts';
import { considerRelief, type LoadSample, reliefMilliseconds } from './relief-policy.ts';
import type { TransportClient } from '../transport/transport.ts';
import type { Caller } from '../protocol/wire.ts';

export interface SourceReliefDependencies {
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  readonly caller: Caller;
  readonly connect: (url: string) => TransportClient;
  /** Tells a source how far this system is. Rejects with JnbdError. */
  readonly registerAt: (client: TransportClient) => Promise<unknown>;
  /** Rejects with JnbdError, and then the source is the one of before. */
  readonly switchSource: (next: FollowState) => Promise<void>;
}

/**
 * One group that has other sources beside the preferred one (K23): it reads from them while that one is
 * busy, or cannot be reached, and goes back. Meanwhile the preferred one is told now and then how far this
 * system is, so nothing has been released that it needs when it comes back.
 */
export class SourceRelief {
  readonly #group: Group;
  readonly #deps: SourceReliefDependencies;
  #streak = 0;
  #timer: Timer | undefined;
  #isClosed = false;
  /** Why the last change failed: it is tried again and again. */
  #told = '';

  constructor(group: Group, deps: SourceReliefDependencies) {
    this.#group = group;
    this.#deps = deps;
    this.#arm();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer = this.#deps.clock.after(reliefMilliseconds, () => {
      this.#look().then(
        () => {
          if (!this.#isClosed) this.#arm();
        },
        (error: unknown) => {
          throw error;
        },
      );
    });
  }

  async #look(): Promise<void> {
    const { state } = this.#group.follow;
    const { preferred, relief = [] } = state ?? {};
    if (!state || preferred === undefined || relief.length === 0 || state.isSuspended) return;
    const isAway = state.url !== preferred;
    const sample = await this.#sample(preferred);
    if (this.#isClosed || !sample) return;
    const decided = considerRelief({ isAway, streak: this.#streak }, sample);
    this.#streak = decided.state.streak;
    if (decided.wish === 'leave') await this.#tryEach(relief, sample);
    else if (decided.wish === 'return') await this.#trySwitch(preferred, sample);
    else if (isAway) await this.#ask(preferred, (client) => this.#deps.registerAt(client));
  }

  /** Undefined: it answers, and does not say. */
  async #sample(url: string): Promise<LoadSample | undefined> {
    const client = this.#deps.connect(url);
    try {
      return await askLoad(client, this.#deps.caller);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      return error.kind === 'retryable' ? 'unreachable' : undefined;
    } finally {
      client.close();
    }
  }

  async #tryEach(urls: readonly string[], sample: LoadSample): Promise<void> {
    for (const url of urls) {
      if (this.#isClosed || (await this.#trySwitch(url, sample))) return;
    }
  }

  async #trySwitch(url: string, sample: LoadSample): Promise<boolean> {
    const { name } = this.#group;
    const why = sampleText(sample);
    try {
      await this.#switchTo(url);
      this.#tell(
        'source_switched',
        `group ${name} follows ${url} now: its preferred source is ${why}`,
      );
      return true;
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      const text = `group ${name} cannot follow ${url}: ${error.message}`;
      if (text !== this.#told) this.#tell('source_not_switched', text);
      this.#told = text;
      return false;
    }
  }

  /** The one that was there for relief alone keeps nothing for this system any more. */
  async #switchTo(url: string): Promise<void> {
    const { follow, catalog } = this.#group;
    const before = must(follow.state, 'a group that follows has a source');
    await this.#deps.switchSource({ ...before, url });
    if (before.url === before.preferred) return;
    leaseOf(this.#group).end();
    await this.#ask(before.url, (client) => unregister(client, this.#deps.caller, catalog.groupId));
  }

  /** Undefined: it could not be asked, or said no. */
  async #ask<T>(url: string, run: (client: TransportClient) => Promise<T>): Promise<T | undefined> {
    const client = this.#deps.connect(url);
    try {
      return await run(client);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      return undefined;
    } finally {
      client.close();
    }
  }

  #tell(code: string, message: string): void {
    this.#deps.event(code, message, { group: this.#group.name });
  }
}

function sampleText(sample: LoadSample): string {
  if (sample === 'unreachable') return 'not to be reached';
  const share = Math.round(sample.processorShare * 100);
  return `at ${share}% of its processors, its event loop late by ${Math.round(sample.eventLoopDelayMilliseconds)} ms`;
}
