import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { KiB } from '../../platform/limits.ts';
import {
  type CutAsk,
  type CutExchange,
  cutExchanges,
  cutPath,
  type CutPlace,
  type CutTold,
  encodeCutJson,
} from '../protocol/wire-cuts.ts';
import { type Caller, encodeCaller } from '../protocol/wire.ts';
import { parseJson, readProblem } from '../protocol/wire-json.ts';
import type { ClientCredentials, Transport, TransportClient } from '../transport/transport.ts';
import { wholeAnswer } from '../transport/whole-answer.ts';

/** Answers what systems of a cut are asked. */
export type CutAnswers = {
  readonly [Name in CutExchange]: (
    cutId: string,
    ask: CutAsk<Name>,
    caller: Caller,
  ) => Promise<CutTold<Name>>;
};

export interface CutPeersDependencies {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly credentials: ClientCredentials | undefined;
  /** This system. */
  readonly caller: Caller;
  readonly answers: CutAnswers;
}

/** Who is asked: a place of a cut, or a system that is to be one. */
export interface CutPeer {
  readonly url: string;
  /** Undefined: nobody knows yet who listens there. */
  readonly systemId?: number;
}

const windowBytes = 256 * KiB;

/** Asks systems of cuts, this one without the network. Connections stay: a round has no time to make any. */
export class CutPeers {
  readonly #deps: CutPeersDependencies;
  /** By URL. */
  readonly #clients = new Map<string, TransportClient>();

  constructor(deps: CutPeersDependencies) {
    this.#deps = deps;
  }

  /** Rejects with JnbdError: what the other system says, or that it says nothing for so long. */
  async ask<Name extends CutExchange>(
    { url, systemId }: CutPeer,
    cutId: string,
    what: Name,
    ask: CutAsk<Name>,
    milliseconds: number,
  ): Promise<CutTold<Name>> {
    const { caller, answers } = this.#deps;
    if (systemId === caller.systemId) {
      return this.#within(answers[what](cutId, ask, caller), what, milliseconds);
    }
    const headers = { ...encodeCaller(caller), 'content-type': 'application/json' };
    const path = cutPath(cutId, what);
    const body = encodeCutJson(ask);
    const answer = await wholeAnswer(
      this.#client(url),
      { method: 'POST', path, headers, body },
      { headMilliseconds: milliseconds, silenceMilliseconds: milliseconds },
    );
    if (answer.status >= 400) throw readProblem(answer.status, answer.body).error;
    const { told: schema } = cutExchanges[what];
    const told = parseJson<object>(schema, answer.body, `what ${url} says (${what})`);
    return told as CutTold<Name>;
  }

  /** As `ask`; the error says of whom. */
  async askPlace<Name extends CutExchange>(
    place: CutPlace,
    cutId: string,
    what: Name,
    ask: CutAsk<Name>,
    milliseconds: number,
  ): Promise<CutTold<Name>> {
    try {
      return await this.ask(place, cutId, what, ask, milliseconds);
    } catch (cause) {
      if (!(cause instanceof JnbdError)) throw cause;
      throw new JnbdError(cause.code, `system ${place.systemName}: ${cause.message}`, { cause });
    }
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #client(url: string): TransportClient {
    const known = this.#clients.get(url);
    if (known) return known;
    const { transport, credentials } = this.#deps;
    const trust = credentials ? { credentials } : {};
    const client = transport.connect({ url, connections: 1, windowBytes, ...trust });
    this.#clients.set(url, client);
    return client;
  }

  /** The own disk may stand still as others do. */
  #within<T>(answer: Promise<T>, what: string, milliseconds: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = this.#deps.clock.after(milliseconds, () => {
        const text = `this system did not answer within ${milliseconds} ms (${what})`;
        reject(new JnbdError('peer_silent', text));
      });
      answer.then(resolve, reject).finally(() => late.cancel());
    });
  }
}
