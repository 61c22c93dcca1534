import http from 'node:http';
import { JnbdError, messageOf, systemErrorCode } from '../platform/errors.ts';
import type { ErrorCode } from '../platform/errors.ts';
import { errorCodes } from '../platform/errors.ts';
import { commandText } from './client-command.ts';
import { controlSocketPath, reachSocket } from './client-socket.ts';
import type { Problem } from '../platform/problem.ts';
import type { AnswerLine, ChangeVerbName, Input, Result } from './schema.ts';
import { verbPath } from './schema.ts';
import type { SystemEvent } from './schema-events.ts';
import type { Status } from './schema-status.ts';

export type Progress = NonNullable<AnswerLine['progress']>;

/** How a daemon is reached: by its data directory for everything, or by URL for reading. */
export type DaemonLocation =
  | { readonly kind: 'directory'; readonly directory: string }
  | { readonly kind: 'url'; readonly url: string };

/** For a connection, and for the answer where nothing is changed. */
const answerMillisecondsMax = 10_000;

/** Speaks to a daemon. Errors are JnbdError: those of the daemon, or daemon_unreachable. */
export class ControlClient {
  readonly #location: DaemonLocation;

  constructor(location: DaemonLocation) {
    this.#location = location;
  }

  async status(): Promise<Status> {
    const { response, body } = await this.#request('GET', '/status', undefined);
    if (response.statusCode !== 200) throw problemOf(body);
    return JSON.parse(body) as Status;
  }

  /**
   * What happened since then (Unix time; undefined: all that is known), and with `follow` what happens
   * until the daemon ends, which is daemon_unreachable.
   */
  async events(
    { sinceMilliseconds = 0, follow }: { sinceMilliseconds?: number | undefined; follow: boolean },
    each: (event: SystemEvent) => void,
  ): Promise<void> {
    if (follow && this.#location.kind === 'url') {
      throw new JnbdError(
        'argument_invalid',
        'jnbd events --follow is not there over --connect; run it on that machine with --data',
      );
    }
    const path = `/events?since=${sinceMilliseconds}${follow ? '&follow=1' : ''}`;
    const { response, body } = await this.#request('GET', path, undefined, (line) => {
      if (line !== '') each(JSON.parse(line) as SystemEvent);
    });
    if (response.statusCode !== 200) throw problemOf(body);
    if (follow) throw new JnbdError('daemon_unreachable', 'the daemon ended');
  }

  /** `progress` is called while something takes long. Ending before the answer undoes it. */
  async change<Name extends ChangeVerbName>(
    name: Name,
    input: Input<Name>,
    progress: (progress: Progress) => void = () => undefined,
  ): Promise<Result<Name>> {
    if (this.#location.kind === 'url') {
      throw new JnbdError(
        'argument_invalid',
        `jnbd ${name} changes something, which is refused over --connect; run it on that machine with --data`,
      );
    }
    let result: unknown;
    const read = (line: string): void => {
      if (line === '') return;
      const answer = JSON.parse(line) as AnswerLine;
      if (answer.error) throw errorOf(answer.error);
      if (answer.progress) progress(answer.progress);
      if (answer.result !== undefined) result = answer.result;
    };
    const { response, body } = await this.#request(
      'POST',
      verbPath(name),
      JSON.stringify(input),
      read,
    );
    if (response.statusCode !== 200) throw problemOf(body);
    if (result === undefined) {
      throw ended();
    }
    return result as Result<Name>;
  }

  /** With `line`, a good answer is given to it line by line as it comes, and is not kept. */
  #request(
    method: string,
    path: string,
    content: string | undefined,
    line?: (text: string) => void,
  ): Promise<{ response: http.IncomingMessage; body: string }> {
    const { options, release } = this.#options();
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        release();
        reject(error instanceof JnbdError ? error : this.#unreachable(error));
      };
      const request = http.request({
        ...options,
        method,
        path,
        agent: false,
        headers: {
          ...(content === undefined ? {} : { 'content-type': 'application/json' }),
          accept: line ? 'application/x-ndjson' : 'application/json',
        },
      });
      const timer = setTimeout(() => {
        request.destroy(
          new JnbdError(
            'timed_out',
            `the daemon ${this.#where()} did not answer within ${answerMillisecondsMax / 1000} s; see whether it is stopped, or its disk`,
          ),
        );
      }, answerMillisecondsMax);
      request.once('socket', (socket) => {
        socket.once('connect', () => {
          // What changes something may take its time.
          if (line) clearTimeout(timer);
          release();
        });
      });
      request.once('error', (error) => {
        clearTimeout(timer);
        fail(systemErrorCode(error) === 'ECONNRESET' ? ended(error) : error);
      });
      request.once('response', (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
          if (!line || response.statusCode !== 200) return;
          const lines = body.split('\n');
          body = lines.pop() ?? '';
          try {
            for (const each of lines) line(each);
          } catch (error) {
            request.destroy();
            fail(error);
          }
        });
        response.once('error', (cause) => {
          clearTimeout(timer);
          fail(cause instanceof JnbdError ? cause : ended(cause));
        });
        response.once('end', () => {
          clearTimeout(timer);
          resolve({ response, body });
        });
      });
      request.end(content);
    });
  }

  #options(): { options: http.RequestOptions; release: () => void } {
    if (this.#location.kind === 'url') {
      const { hostname, port } = this.#url(this.#location.url);
      return {
        options: { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) },
        release: () => undefined,
      };
    }
    const socketPath = controlSocketPath(this.#location.directory);
    try {
      const { path, release } = reachSocket(socketPath);
      return { options: { socketPath: path }, release };
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  #where(): string {
    return this.#location.kind === 'url'
      ? `at ${this.#location.url}`
      : `of ${this.#location.directory}`;
  }

  #url(text: string): URL {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol === 'http:') return url;
    throw new JnbdError(
      'argument_invalid',
      `--connect: '${text}' is not a usable URL; write http://HOST:PORT, such as http://127.0.0.1:10810`,
    );
  }

  #unreachable(cause: unknown): JnbdError {
    if (this.#location.kind === 'url') {
      return new JnbdError(
        'daemon_unreachable',
        `no daemon answers ${this.#where()} (${messageOf(cause)}); see whether it runs, and its --listen`,
        { cause },
      );
    }
    return new JnbdError('daemon_unreachable', unreachableText(this.#location.directory, cause), {
      cause,
    });
  }
}

function ended(cause?: unknown): JnbdError {
  return new JnbdError(
    'daemon_unreachable',
    'the daemon ended before this was done; start it again, and see with jnbd status what is there',
    { cause },
  );
}

function unreachableText(directory: string, cause: unknown): string {
  switch (systemErrorCode(cause)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return `no daemon serves ${directory}; start it with: ${commandText('jnbd', 'serve', '--data', directory)} (or name another directory with --data)`;
    case 'ENOTDIR':
      return `${directory} is a file; name the data directory of a daemon with --data`;
    case 'EACCES':
    case 'EPERM':
      return `this user may not speak to the daemon of ${directory} (permission denied at ${controlSocketPath(directory)}); be the user that runs it, or read with --connect`;
    default:
      return `the daemon of ${directory} does not answer: ${messageOf(cause)}`;
  }
}

function problemOf(body: string): JnbdError {
  try {
    return errorOf(JSON.parse(body) as Problem);
  } catch {
    return new JnbdError('internal', `the daemon answered: ${body.slice(0, 200)}`);
  }
}

function errorOf(problem: Problem): JnbdError {
  const code = errorCodes.find((known): known is ErrorCode => known === problem.code);
  return new JnbdError(code ?? 'internal', problem.detail);
}
