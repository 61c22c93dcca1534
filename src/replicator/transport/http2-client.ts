import { JnbdError } from '../../platform/errors.ts';
import { type ClientTimes, Http2Connection } from './http2-connection.ts';
import { Http2Exchange } from './http2-exchange.ts';
import type {
  AnswerReceiver,
  ConnectionStatus,
  Exchange,
  RequestLimits,
  TransportClient,
  TransportRequest,
  TransportTarget,
} from './transport.ts';

const timesDefault: ClientTimes = {
  connectMilliseconds: 10_000,
  pingMilliseconds: 5_000,
  silenceMilliseconds: 15_000,
};

/** The place of one of the parallel connections: whichever there is at the time. */
interface Link {
  /** That takes requests. */
  connection: Http2Connection | undefined;
  /** Also those that an earlier connection still answers. */
  exchanges: number;
  /** Over earlier connections. */
  receivedBytes: number;
}

/**
 * A source, reached by one or several connections. Each is made when there is something to ask, kept
 * while it stands, and made again when it is needed after that.
 */
export class Http2Client implements TransportClient {
  readonly #target: TransportTarget;
  readonly #times: ClientTimes;
  readonly #links: Link[];
  readonly #connections = new Set<Http2Connection>();
  #isClosed = false;

  /** Throws JnbdError argument_invalid or certificate_invalid, naming what is wrong with the target. */
  constructor(target: TransportTarget, times: ClientTimes = timesDefault) {
    checkTarget(target);
    this.#target = target;
    this.#times = times;
    this.#links = Array.from({ length: target.connections }, () => ({
      connection: undefined,
      exchanges: 0,
      receivedBytes: 0,
    }));
  }

  request(request: TransportRequest, limits: RequestLimits, receiver: AnswerReceiver): Exchange {
    const { url } = this.#target;
    let link: Link | undefined;
    for (const each of this.#links) if (!link || each.exchanges < link.exchanges) link = each;
    if (this.#isClosed || !link) {
      const exchange = new Http2Exchange(url, request, limits, receiver, () => undefined);
      exchange.fail(closedError(url));
      return exchange;
    }
    const carrier = link;
    const connection = (link.connection ??= this.#connect(link));
    const exchange = new Http2Exchange(url, request, limits, receiver, (over) => {
      connection.over(over);
      carrier.exchanges -= 1;
    });
    carrier.exchanges += 1;
    connection.carry(exchange);
    return exchange;
  }

  connections(): ConnectionStatus[] {
    return this.#links.map(({ connection, exchanges, receivedBytes }) => ({
      state: connection ? (connection.isConnected ? 'connected' : 'connecting') : 'idle',
      exchanges,
      receivedBytes: receivedBytes + (connection?.receivedBytes ?? 0),
    }));
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections) connection.close(closedError(this.#target.url));
  }

  #connect(link: Link): Http2Connection {
    const made = new Http2Connection(
      this.#target,
      this.#times,
      () => {
        link.connection = undefined;
      },
      (connection) => {
        link.receivedBytes += connection.receivedBytes;
        this.#connections.delete(connection);
      },
    );
    this.#connections.add(made);
    return made;
  }
}

function closedError(url: string): JnbdError {
  return new JnbdError('request_aborted', `nothing more is asked of ${url}`);
}

function checkTarget({ url, credentials, connections, windowBytes }: TransportTarget): void {
  const refuse = (text: string): never => {
    throw new JnbdError('argument_invalid', text);
  };
  if (!URL.canParse(url)) refuse(`'${url}' is no URL; write http://HOST:PORT or https://HOST:PORT`);
  const { protocol, pathname, search, username, hostname } = new URL(url);
  const isPlain = pathname === '/' && search === '' && username === '' && hostname !== '';
  if ((protocol !== 'http:' && protocol !== 'https:') || !isPlain) {
    refuse(`'${url}' is no address of a source; write http://HOST:PORT or https://HOST:PORT`);
  }
  if (protocol === 'https:' && !credentials) {
    throw new JnbdError('certificate_invalid', `${url} needs a certificate of this system`);
  }
  if (!Number.isSafeInteger(connections) || connections < 1 || connections > 64) {
    refuse(`from 1 to 64 connections to a source, not ${connections}`);
  }
  if (!Number.isSafeInteger(windowBytes) || windowBytes < 65_535 || windowBytes > 2 ** 30) {
    refuse(`a window from 64 KiB to 1 GiB, not ${windowBytes} bytes`);
  }
}
