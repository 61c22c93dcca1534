import type { Group } from '../../group/order/group.ts';
import { must } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { WorkerPort } from '../../platform/worker-port.ts';
import { SourceFeed } from './source-feed.ts';
import type { FromSource, SourceListenOptions, ToSource } from './source-messages.ts';
import type { IncomingRequest } from '../transport/transport.ts';
import type { WireHeaders } from '../protocol/wire.ts';
import { problemAnswer } from '../protocol/wire-json.ts';

/** The whole answer to a request that is no journal read. */
export interface ForwardedAnswer {
  readonly status: number;
  readonly headers: WireHeaders;
  readonly body: Uint8Array;
}

export interface SourceDependencies {
  /** Of this system. */
  readonly systemId: number;
  readonly clock: Clock;
  readonly port: WorkerPort<ToSource, FromSource>;
  /** Whatever else is asked at the port. A JnbdError becomes a problem document. */
  readonly answer: (incoming: IncomingRequest) => Promise<ForwardedAnswer>;
  /** Somebody was not let in, and why: for the log. */
  readonly refused: (peer: string, why: string) => void;
}

interface Pending<T> {
  readonly done: (value: T) => void;
  readonly failed: (error: Error) => void;
}

/**
 * The source on the thread that serves hosts: keeps the worker informed of the groups, and takes from
 * it how far followers are. Everything of followers that costs is done in the worker.
 */
export class Source {
  readonly #deps: SourceDependencies;
  /** By group id. */
  readonly #feeds = new Map<string, SourceFeed>();
  #listening: Pending<{ readonly host: string; readonly port: number }> | undefined;
  #stopped: (() => void) | undefined;

  constructor(deps: SourceDependencies) {
    this.#deps = deps;
    deps.port.receive((message) => this.#received(message));
  }

  /** Followers of the group may read from now on. */
  add(group: Group): void {
    const { groupId } = group.catalog;
    this.remove(group, false);
    const post = (message: ToSource): void => this.#deps.port.post(message);
    const { clock, systemId } = this.#deps;
    this.#feeds.set(groupId, new SourceFeed(group, systemId, clock, post));
  }

  /** Before the group's files are removed; `isOpening`: it is only closed for a while. */
  remove(group: Group, isOpening: boolean): void {
    const { groupId } = group.catalog;
    this.#feeds.get(groupId)?.close(isOpening);
    this.#feeds.delete(groupId);
  }

  /** As bound. Throws JnbdError (address_in_use, address_not_allowed, certificate_invalid). */
  listen(options: SourceListenOptions): Promise<{ readonly host: string; readonly port: number }> {
    return new Promise((done, failed) => {
      this.#listening = { done, failed };
      this.#deps.port.post({ kind: 'listen', options });
    });
  }

  /** Reads that wait are answered; answers on their way have so long to end. */
  async close(milliseconds: number): Promise<void> {
    await new Promise<void>((stopped) => {
      this.#stopped = stopped;
      this.#deps.port.post({ kind: 'stop', milliseconds });
    });
    for (const feed of this.#feeds.values()) feed.close(false);
    this.#feeds.clear();
    await this.#deps.port.close();
  }

  #received(message: FromSource): void {
    switch (message.kind) {
      case 'listening':
        must(this.#listening, 'it was to listen').done({ host: message.host, port: message.port });
        return;
      case 'listen_failed': {
        const error = new JnbdError(message.code, message.message);
        must(this.#listening, 'it was to listen').failed(error);
        return;
      }
      case 'ask':
        this.#feeds.get(message.groupId)?.asked(message.isUrgent);
        return;
      case 'acknowledged':
        for (const { groupId, ...told } of message.acknowledgements) {
          this.#feeds.get(groupId)?.acknowledged(told);
        }
        return;
      case 'watch':
        this.#feeds.get(message.groupId)?.watch(message.isOn);
        return;
      case 'refused':
        this.#deps.refused(message.peer, message.why);
        return;
      case 'request':
        void this.#answer(message.request, message.incoming);
        return;
      case 'trouble':
        this.#trouble(message.groupId, message.message);
        return;
      case 'stopped':
        this.#stopped?.();
    }
  }

  async #answer(request: number, incoming: IncomingRequest): Promise<void> {
    const { status, headers, body } = await this.#deps.answer(incoming).catch((error: unknown) => {
      if (error instanceof JnbdError) return problemAnswer(error);
      throw error;
    });
    this.#deps.port.post({ kind: 'answer', request, status, headers, body });
  }

  /** Followers ask for it again and again, and get nothing before it can be read. */
  #trouble(groupId: string, message: string | undefined): void {
    const group = this.#feeds.get(groupId)?.group;
    if (!group) return;
    const { name, conditions } = group;
    if (message === undefined) {
      const text = `followers of group ${name} are served again`;
      conditions.clear(name, 'journal_unreadable', text);
      return;
    }
    conditions.raise(name, {
      code: 'journal_unreadable',
      severity: 'error',
      message: `followers of group ${name} are not served: ${message}`,
      nextCommand: `jnbd journal check ${group.chain.current.area.path}`,
    });
  }
}
