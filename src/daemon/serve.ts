/** Gives a daemon the real parts, and the signals that end it. */
import { watchLoad } from '../platform/own-load.ts';
import { readHookSettings } from '../control/hooks-directory.ts';
import { nodeProcessRunner } from '../platform/node-process-runner.ts';
import { hostname } from 'node:os';
import { memoryBytesDefault } from '../platform/limits.ts';
import { http2Transport } from '../replicator/transport/http2-transport.ts';
import type { FromSource, ToSource } from '../replicator/source/source-messages.ts';
import { problemAnswer } from '../replicator/protocol/wire-json.ts';
import type { PeerIdentity } from '../replicator/transport/transport.ts';
import { realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Log, openLog } from '../control/log.ts';
import { watchProcess } from '../control/process-watch.ts';
import type { Parameters, Result } from '../control/schema.ts';
import {
  allowedHosts,
  ControlServer,
  isLoopbackHost,
  type ReadRequest,
} from '../control/server.ts';
import type { NbdServerOptions } from '../nbd/server.ts';
import { loadServerTls } from '../nbd/tls.ts';
import { nodeClock } from '../platform/clock.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { formatAddress, type ListenAddress } from '../platform/network.ts';
import { NodeDisk } from '../platform/node-disk.ts';
import { nodeNetwork } from '../platform/node-network.ts';
import { spawnNodeWorker } from '../platform/node-worker.ts';
import { freePortAfter, holderOfPort } from '../platform/port-holder.ts';
import { nodeRandom } from '../platform/random.ts';
import { formatProcess, processWithOpen } from '../platform/running-process.ts';
import { readVersion } from '../platform/version.ts';
import type { FromApply, ToApply } from '../volume/apply-messages.ts';

import { composeDaemon, formatNbdAddress, type Observers, type World } from './compose.ts';

export function realWorld(): World {
  return {
    disk: new NodeDisk(),
    clock: nodeClock,
    random: nodeRandom,
    network: nodeNetwork,
    transport: http2Transport,
    startApply: (failed) =>
      spawnNodeWorker<ToApply, FromApply>(
        new URL('../volume/apply-thread.ts', import.meta.url),
        'apply',
        failed,
      ),
    startSource: (failed) =>
      spawnNodeWorker<ToSource, FromSource>(
        new URL('../replicator/source/source-thread.ts', import.meta.url),
        'source',
        failed,
      ),
  };
}

/** Of the two seconds that a stop may take, the rest is for the disk. */
const answerMillisecondsMax = 1000;
const defaultNbdAddress = { kind: 'tcp', host: '127.0.0.1', port: 10809 } as const;
const defaultListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 10810 } as const;

export interface RunningDaemon {
  readonly listening: Result<'serve'>;
  /** Resolves when it has stopped. */
  readonly stopped: Promise<void>;
}

/**
 * Serves until SIGTERM or SIGINT, then answers what is in flight and ends; a second signal ends at
 * once. A programming error ends the process: what was acknowledged is in the journal.
 */
export async function startDaemon(settings: Parameters<'serve'>): Promise<RunningDaemon> {
  const log = openLog();
  const endAtOnce = (code: string, error: unknown): never => {
    log.fatal(code, messageOf(error), error instanceof Error ? { stack: error.stack } : {});
    log.flush();
    process.exit(1);
  };
  process.on('uncaughtException', (error) => endAtOnce('programming_error', error));
  process.on('unhandledRejection', (error) => endAtOnce('programming_error', error));
  const fatal = (error: Error): never => endAtOnce('worker_ended', error);
  const version = readVersion();
  const dataDirectory = resolve(settings.data ?? './jnbd-data');
  const isInsecure = settings.insecure ?? false;
  const nbdAddresses = settings.nbd ?? [defaultNbdAddress];
  const listen = settings.listen ?? defaultListenAddress;
  const wanted = [...nbdAddresses, listen];
  const isLoopback = isLoopbackHost(listen.host);
  const tls = tlsOptions(settings);
  checkListen(listen, isLoopback || isInsecure || settings.tlsDir !== undefined);
  /** Answers at the port as soon as there is a daemon to ask. */
  const doors: { server?: ControlServer } = {};
  const watch = watchProcess();
  const load = watchLoad();
  const event: Observers['event'] = (code, message, fields) => logEvent(log, code, message, fields);
  const hooks = readHookSettings(settings, event);
  const daemon = await composeDaemon(
    realWorld(),
    { watch, load, event, fatal },
    {
      dataDirectory,
      name: settings.name,
      rename: settings.rename,
      version,
      memoryBytes: settings.memory ?? memoryBytesDefault,
      nbdAddresses,
      hostName: hostname(),
      nbd: { insecure: isInsecure, ...tls },
      ...(hooks ? { hooks: { ...hooks, runner: nodeProcessRunner } } : {}),
      listen: {
        address: listen,
        cleartext: isInsecure ? 'anywhere' : 'loopback',
        // Keys that are shared are for hosts.
        ...(tls.tls?.certificate ? { tls: tls.tls } : {}),
      },
      answerOthers: (incoming) =>
        doors.server?.answer({
          ...incoming,
          groups: visibleTo(incoming.identity, isInsecure),
        }) ?? Promise.resolve(startingAnswer()),
      credentials: tls.tls?.certificate,
      mustConfirmPrimary: settings.confirmPrimary ?? false,
    },
  ).catch((error: unknown) => {
    explainTakenDirectory(error, dataDirectory);
    const isListen =
      error instanceof JnbdError && error.message.startsWith(`${formatAddress(listen)} `);
    return isListen
      ? explainTakenPort(error, [listen], '--listen', wanted)
      : explainTakenPort(error, nbdAddresses, '--nbd', wanted);
  });
  const server = new ControlServer(daemon.control, {
    dataDirectory,
    hosts: isLoopback ? allowedHosts(listen) : undefined,
    failed: (error) => setImmediate(() => endAtOnce('programming_error', error)),
  });
  doors.server = server;
  try {
    await server.listen();
  } catch (error) {
    await server.close();
    await daemon.stop(0);
    throw error;
  }
  const listening: Result<'serve'> = {
    result: 'listening',
    name: daemon.system.name,
    dataDirectory,
    processId: process.pid,
    nbd: daemon.nbdAddresses.map(formatNbdAddress),
    listen: formatAddress(daemon.listenAddress),
    groups: [...daemon.system.groups.keys()],
  };
  const startedText = `jnbd ${version} serves ${dataDirectory}`;
  log.info('started', startedText, { ...listening });
  daemon.events.add('started', startedText);
  daemon.announce();
  const stop = async (signal: string): Promise<void> => {
    const stoppingText = `${signal}: answering what is in flight`;
    log.info('stopping', stoppingText);
    daemon.events.add('stopping', stoppingText);
    await Promise.all([server.close(), daemon.stop(answerMillisecondsMax)]);
    watch.close();
    load.close();
    log.info('stopped', 'everything is durable');
    log.flush();
  };
  return { listening, stopped: signalled(log).then(stop) };
}

/** Over TLS without a certificate, from another machine: nobody knows who that is. */
function visibleTo(identity: PeerIdentity, isInsecure: boolean): ReadRequest['groups'] {
  if (identity.kind === 'certificate') return identity.rights.groups;
  return identity.kind === 'loopback' || isInsecure ? 'all' : 'none';
}

function startingAnswer(): ReturnType<typeof problemAnswer> {
  return problemAnswer(new JnbdError('shutting_down', 'the system is starting'));
}

/** Beyond loopback status, metrics and journals are for who proves who they are (SAFETY 33). */
function checkListen(listen: ListenAddress, isAllowed: boolean): void {
  if (isAllowed) return;
  throw new JnbdError(
    'address_not_allowed',
    `--listen ${formatAddress(listen)} can be reached from other machines, which could read status, metrics and journals; listen on 127.0.0.1, add --tls-dir DIR with certificates, or say --insecure`,
  );
}

/** Only what is not as it should be comes with what to type next. */
function logEvent(log: Log, code: string, message: string, fields: Record<string, unknown>): void {
  if ('nextCommand' in fields) log.warn(code, message, fields);
  else log.info(code, message, fields);
}

/** The first SIGTERM or SIGINT. The next one, whichever it is, ends the process at once. */
function signalled(log: Log): Promise<string> {
  return new Promise((done) => {
    let isFirst = true;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (!isFirst) {
          log.flush();
          process.exit(1);
        }
        isFirst = false;
        done(signal);
      });
    }
  });
}

function tlsOptions(settings: Parameters<'serve'>): Pick<NbdServerOptions, 'tlsMode' | 'tls'> {
  const { tls: tlsMode = 'off', tlsDir, pskFile, clientCerts } = settings;
  if (tlsMode === 'off') {
    if (tlsDir === undefined && pskFile === undefined && clientCerts === undefined) return {};
    throw new JnbdError(
      'configuration_invalid',
      '--tls-dir, --psk-file and --client-certs do nothing without TLS; add --tls require, or --tls allow',
    );
  }
  if (tlsDir === undefined && pskFile === undefined) {
    throw new JnbdError(
      'configuration_invalid',
      `--tls ${tlsMode} needs certificates or keys: add --tls-dir DIR, or --psk-file FILE`,
    );
  }
  return {
    tlsMode,
    tls: loadServerTls({
      ...(tlsDir === undefined ? {} : { directory: tlsDir }),
      ...(pskFile === undefined ? {} : { preSharedKeyFile: pskFile }),
      clientCertificates: clientCerts ?? 'optional',
    }),
  };
}

/** Throws another error where it can say which process has the data directory. */
function explainTakenDirectory(error: unknown, dataDirectory: string): void {
  if (!(error instanceof JnbdError) || error.code !== 'data_directory_locked') return;
  const lockPath = join(realpathSync(dataDirectory), 'lock');
  const holder = processWithOpen(new Set([lockPath]));
  if (!holder) return;
  throw new JnbdError(
    error.code,
    `data directory ${dataDirectory} is in use by ${formatProcess(holder)}; stop that one, or use another --data`,
    { cause: error },
  );
}

/** Throws the error again; for a taken port, with its holder and a free port that is not one of `wanted`. */
async function explainTakenPort(
  error: unknown,
  addresses: readonly ListenAddress[],
  option: string,
  wanted: readonly ListenAddress[],
): Promise<never> {
  if (!(error instanceof JnbdError) || error.code !== 'address_in_use') throw error;
  const taken = addresses.find(
    (address) => address.kind === 'tcp' && error.message.startsWith(`${formatAddress(address)} `),
  );
  if (taken?.kind !== 'tcp') throw error;
  const holder = holderOfPort(taken.port);
  const ports = wanted.flatMap((address) => (address.kind === 'tcp' ? [address.port] : []));
  const free = await freePortAfter(taken.host, taken.port, ports);
  const by = holder ? formatProcess(holder) : 'another process';
  const instead =
    free === undefined ? '' : `; free is: ${option} ${formatAddress({ ...taken, port: free })}`;
  throw new JnbdError('address_in_use', `${formatAddress(taken)} is in use by ${by}${instead}`, {
    cause: error,
  });
}
