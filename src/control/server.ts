import { chmodSync, rmSync } from 'node:fs';
import type http from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { stream } from 'hono/streaming';
import { JnbdError, messageOf, systemErrorCode } from '../platform/errors.ts';
import { MiB } from '../platform/limits.ts';
import type { ListenAddress } from '../platform/network.ts';
import { controlSocketPath, reachSocket } from './client-socket.ts';
import { type Problem, toProblem } from '../platform/problem.ts';
import { type ControlService, sees, type VisibleGroups } from './service.ts';

type TcpAddress = Extract<ListenAddress, { kind: 'tcp' }>;

/** A request as the port's owner has it. */
export interface ReadRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What it may see; `none`: nobody knows who asks. */
  readonly groups: VisibleGroups | 'none';
}

export interface ReadAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface ControlServerOptions {
  readonly dataDirectory: string;
  /** Under which names this machine may be asked at its port; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined;
  /** A programming error while answering. */
  readonly failed: (error: unknown) => void;
}

const bodyBytesMax = 1 * MiB;
const drainedBytesMax = 16 * MiB;
const connectionsMax = 256;
const progressMilliseconds = 200;

/**
 * The doors to a ControlService: a Unix socket in the data directory, where everything can be asked
 * by whoever may write to it, and for reading, through its owner, the port for other systems.
 */
export class ControlServer {
  readonly #service: ControlService;
  readonly #options: ControlServerOptions;
  readonly #servers: http.Server[] = [];
  readonly #running = new Set<AbortController>();
  readonly #reads: Hono;

  constructor(service: ControlService, options: ControlServerOptions) {
    this.#service = service;
    this.#options = options;
    this.#reads = this.#readApplication(options.hosts);
  }

  /** What is asked at the port that other systems reach this one by, and is to be read only. */
  async answer({ method, path, query, headers, groups }: ReadRequest): Promise<ReadAnswer> {
    const url = `http://${headers['host'] ?? 'localhost'}${path}${query === '' ? '' : `?${query}`}`;
    const response = await this.#reads.fetch(new Request(url, { method, headers }), { groups });
    const told: Record<string, string> = {};
    response.headers.forEach((value, name) => {
      told[name] = value;
    });
    return {
      status: response.status,
      headers: told,
      body: new Uint8Array(await response.arrayBuffer()),
    };
  }

  /** Throws JnbdError (address_in_use, address_not_allowed). The data directory's lock is held. */
  async listen(): Promise<void> {
    const { dataDirectory } = this.#options;
    const path = controlSocketPath(dataDirectory);
    // Whoever left it is gone: the lock of the directory is ours.
    rmSync(path, { force: true });
    const all = this.#open(this.#fullApplication());
    const reachable = reachSocket(path);
    try {
      await bind(all, path, { path: reachable.path });
      chmodSync(path, 0o600);
    } finally {
      reachable.release();
    }
  }

  /** Answers nobody any more; what was under way is stopped and undone. */
  async close(): Promise<void> {
    for (const running of this.#running) running.abort();
    // Now, while the lock of the directory is held: later it may be the next daemon's.
    rmSync(controlSocketPath(this.#options.dataDirectory), { force: true });
    const ends = this.#servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          server.closeIdleConnections();
        }),
    );
    const late = setTimeout(() => {
      for (const server of this.#servers) server.closeAllConnections();
    }, 500);
    await Promise.all(ends);
    clearTimeout(late);
  }

  #open(application: Hono): http.Server {
    const server = createAdaptorServer({ fetch: application.fetch }) as http.Server;
    server.maxConnections = connectionsMax;
    this.#servers.push(server);
    return server;
  }

  /** What may be read by anyone who reaches the port: GET, and with a host name that means this machine. */
  #readApplication(hosts: ReadonlySet<string> | undefined): Hono {
    const application = this.#newApplication();
    if (hosts) {
      application.use(async (context, next) => {
        const host = (context.req.header('host') ?? '').replace(/:\d*$/, '').toLowerCase();
        if (hosts.has(host)) return next();
        const error = new JnbdError(
          'address_not_allowed',
          `the host name '${host}' is not one of this system; use ${[...hosts].join(', ')}`,
        );
        return problemResponse(toProblem(error, 403));
      });
    }
    application.use(async (context, next) => {
      const isKnown = (context.env as ReadEnvironment).groups !== 'none';
      if (isKnown || context.req.path === '/healthz') return next();
      const text = 'this is for systems that show a certificate; see jnbd pki issue';
      return problemResponse(toProblem(new JnbdError('certificate_refused', text), 403));
    });
    this.#addReads(application);
    application.get('/events', (context) => this.#events(context, false));
    application.notFound((context) => problemResponse(notFound(context.req.path)));
    return application;
  }

  #fullApplication(): Hono {
    const application = this.#newApplication();
    this.#addReads(application);
    application.get('/events', (context) =>
      this.#events(context, context.req.query('follow') === '1'),
    );
    const limit = bodyLimit({
      maxSize: bodyBytesMax,
      onError: async (context) => {
        await drain(context.req.raw.body);
        return problemResponse(
          toProblem(new JnbdError('argument_invalid', 'the request is too long')),
        );
      },
    });
    application.post('/verbs/:verb', limit, async (context) => {
      let input: unknown;
      try {
        input = await context.req.json();
      } catch {
        throw new JnbdError('argument_invalid', 'the request is not JSON');
      }
      const { path } = context.req;
      if (!(context.req.header('accept') ?? '').includes('ndjson')) {
        return context.json((await this.#change(path, input, () => undefined)) as object);
      }
      context.header('content-type', 'application/x-ndjson');
      return stream(context, async (out) => {
        const abort = new AbortController();
        out.onAbort(() => abort.abort());
        let told = 0;
        const progress = (value: object): void => {
          const now = performance.now();
          if (now - told < progressMilliseconds) return;
          told = now;
          void out.writeln(JSON.stringify({ progress: value }));
        };
        try {
          const result = await this.#change(path, input, progress, abort);
          await out.writeln(JSON.stringify({ result }));
        } catch (error) {
          await out.writeln(JSON.stringify({ error: this.#problem(error) }));
        }
      });
    });
    application.notFound((context) => problemResponse(notFound(context.req.path)));
    return application;
  }

  /** What is followed ends with the caller, or with this server. */
  #events(context: Context, follows: boolean): Response {
    const since = context.req.query('since') ?? '0';
    if (!/^\d{1,16}(?:\.\d+)?$/.test(since)) {
      throw new JnbdError('argument_invalid', `since=${since} is no Unix time in milliseconds`);
    }
    const groups = groupsOf(context);
    context.header('content-type', 'application/x-ndjson');
    return stream(context, async (out) => {
      const abort = new AbortController();
      out.onAbort(() => abort.abort());
      this.#running.add(abort);
      try {
        const events = this.#service.events(Number(since), follows ? abort.signal : undefined);
        for await (const event of events) {
          if (sees(groups, event.group)) await out.writeln(JSON.stringify(event));
        }
      } finally {
        this.#running.delete(abort);
      }
    });
  }

  async #change(
    path: string,
    input: unknown,
    progress: (value: object) => void,
    abort = new AbortController(),
  ): Promise<unknown> {
    this.#running.add(abort);
    try {
      return await this.#service.change(path, input, { signal: abort.signal, progress });
    } finally {
      this.#running.delete(abort);
    }
  }

  #newApplication(): Hono {
    const application = new Hono();
    application.onError((error) => problemResponse(this.#problem(error)));
    return application;
  }

  #addReads(application: Hono): void {
    application.get('/status', (context) => context.json(this.#service.status(groupsOf(context))));
    application.get('/metrics', async (context) => {
      if (groupsOf(context) !== 'all') {
        const text = 'metrics are of all groups, and this certificate is for some; read /status';
        return problemResponse(toProblem(new JnbdError('certificate_refused', text), 403));
      }
      const text = await this.#service.metrics();
      return context.body(text, 200, {
        'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      });
    });
    application.get('/healthz', (context) => context.json({ alive: true }));
    application.get('/readyz', (context) => {
      const readiness = this.#service.readiness(groupsOf(context));
      if (readiness.ready) return context.json(readiness);
      const abnormal = readiness.groups.filter(({ state }) => state !== 'normal');
      const text = abnormal.map(({ name, state }) => `group ${name} is ${state}`).join('; ');
      return problemResponse(toProblem(new JnbdError('state_refuses', text), 503));
    });
  }

  #problem(error: unknown): Problem {
    if (error instanceof JnbdError) return toProblem(error);
    // Told to whoever asked, and then the process ends: nothing is served in a state nobody foresaw.
    this.#options.failed(error);
    return toProblem(new JnbdError('internal', `programming error: ${messageOf(error)}`));
  }
}

/** What the port's owner says of who asks. Whoever reaches the socket may see everything. */
interface ReadEnvironment {
  readonly groups?: ReadRequest['groups'];
}

function groupsOf(context: Context): VisibleGroups {
  const { groups = 'all' } = (context.env ?? {}) as ReadEnvironment;
  return groups === 'none' ? [] : groups;
}

function notFound(path: string): Problem {
  const text = `there is no ${path} here; there are /status, /events, /metrics, /healthz and /readyz`;
  return toProblem(new JnbdError('argument_invalid', text), 404);
}

function problemResponse(problem: Problem): Response {
  return new Response(`${JSON.stringify(problem)}\n`, {
    status: problem.status,
    headers: { 'content-type': 'application/problem+json' },
  });
}

export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * A page in a browser on this machine can make a name of its own mean 127.0.0.1 and so read what is
 * served there; the name stands in its requests.
 */
export function allowedHosts(listen: TcpAddress): Set<string> {
  const own = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  return new Set(['localhost', '127.0.0.1', '[::1]', own.toLowerCase()]);
}

function bind(
  server: http.Server,
  name: string,
  where: { readonly path: string } | { readonly port: number; readonly host: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const isTaken = systemErrorCode(cause) === 'EADDRINUSE';
      reject(
        new JnbdError(
          isTaken ? 'address_in_use' : 'address_not_allowed',
          isTaken
            ? `${name} is in use by another process`
            : `cannot listen on ${name}: ${messageOf(cause)}`,
          { cause },
        ),
      );
    });
    server.listen(where, () => {
      server.removeAllListeners('error');
      // A failed accept (EMFILE) concerns nobody but its client.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

/** Reads on for a while, so that who is still sending gets the answer and not a broken pipe. */
async function drain(body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (!body) return;
  const reader = body.getReader();
  for (let left = drainedBytesMax; left > 0; ) {
    const { done, value } = await reader.read();
    if (done) return;
    left -= value.length;
  }
  await reader.cancel();
}
