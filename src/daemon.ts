/**
 * The composition root. `composeDaemon` puts a daemon together around a world that is given to it;
 * `startDaemon` gives it the real one.
 */
import { realpathSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { GroupChanges, hookSubject } from './control/group-changes.ts';
import { type HookSettings, readHookSettings } from './control/hooks-directory.ts';
import { Hooks } from './control/hooks.ts';
import { LagClock } from './control/lag-clock.ts';
import { type Log, openLog } from './control/log.ts';
import { Metrics } from './control/metrics.ts';
import { type ProcessWatch, watchProcess } from './control/process-watch.ts';
import type { Parameters, Result } from './control/schema.ts';
import { ControlServer } from './control/server.ts';
import { ControlService } from './control/service.ts';
import { StatusReport } from './control/status.ts';
import { Verbs } from './control/verbs.ts';
import { SystemExports } from './group/exports.ts';
import { System, type SystemDependencies } from './group/system.ts';
import { openNbdSource } from './nbd/import-source.ts';
import { NbdServer, type NbdServerOptions } from './nbd/server.ts';
import { loadServerTls } from './nbd/tls.ts';
import { formatNbdUri } from './nbd/uri.ts';
import { nodeClock } from './platform/clock.ts';
import { JnbdError, messageOf } from './platform/errors.ts';
import { memoryBytesDefault } from './platform/limits.ts';
import { formatAddress, type ListenAddress, type Network } from './platform/network.ts';
import { NodeDisk } from './platform/node-disk.ts';
import { nodeNetwork } from './platform/node-network.ts';
import { nodeProcessRunner } from './platform/node-process-runner.ts';
import { spawnNodeWorker } from './platform/node-worker.ts';
import { freePortAfter, holderOfPort } from './platform/port-holder.ts';
import type { ProcessRunner } from './platform/process-runner.ts';
import { nodeRandom } from './platform/random.ts';
import { formatProcess, processWithOpen } from './platform/running-process.ts';
import { readVersion } from './platform/version.ts';
import type { FromApply, ToApply } from './volume/apply-messages.ts';

/** What a daemon works with: a simulation replaces these parts, and no others. */
export interface World
  extends Pick<SystemDependencies, 'disk' | 'clock' | 'random' | 'startApply'> {
  readonly network: Network;
}

/** Who hears of a daemon. What it does for hosts does not depend on them. */
export interface Observers extends Pick<SystemDependencies, 'event' | 'fatal'> {
  readonly watch: ProcessWatch;
}

export interface DaemonOptions {
  /** Absolute. */
  readonly dataDirectory: string;
  /** For a new system. */
  readonly name: string | undefined;
  readonly version: string;
  readonly memoryBytes: number;
  readonly nbdAddresses: readonly ListenAddress[];
  /** By which other machines know this one; stands in URIs where an address means any of its own. */
  readonly hostName?: string;
  readonly nbd: Omit<NbdServerOptions, 'replyBytesMax'>;
  readonly hooks?: HookSettings & { readonly runner: ProcessRunner };
}

export interface ComposedDaemon {
  readonly system: System;
  readonly exports: SystemExports;
  readonly nbd: NbdServer;
  /** As bound. */
  readonly nbdAddresses: readonly ListenAddress[];
  readonly control: ControlService;
  /** The system can be asked now: hooks are told how its groups are, and from now on what they become. */
  announce(): void;
  /** Answers what is in flight for so long, makes everything durable, and ends. */
  stop(answerMilliseconds: number): Promise<void>;
}

/** Opens the data directory and serves its volumes. Throws JnbdError, and nothing is left open. */
export async function composeDaemon(
  world: World,
  observers: Observers,
  options: DaemonOptions,
): Promise<ComposedDaemon> {
  const { disk, clock, network } = world;
  const { watch, fatal } = observers;
  const { version, memoryBytes, dataDirectory } = options;
  let happened = (): void => undefined;
  const event: Observers['event'] = (code, message, fields) => {
    observers.event(code, message, fields);
    happened();
  };
  const system = await System.open({ ...world, event, fatal }, dataDirectory, {
    name: options.name,
    memoryBytes,
  });
  if (options.name !== undefined && options.name !== system.name) {
    await system.close();
    throw new JnbdError(
      'exists_differently',
      `the system in ${dataDirectory} is named ${system.name}, not ${options.name}; leave --name out`,
    );
  }
  const exports = new SystemExports(system, disk);
  const nbd = new NbdServer(
    { network, clock, exports },
    { ...options.nbd, replyBytesMax: system.memory.replyBytes },
  );
  let nbdAddresses: ListenAddress[];
  try {
    nbdAddresses = await nbd.listen(options.nbdAddresses);
  } catch (error) {
    await system.close();
    throw error;
  }
  const lagClock = new LagClock(clock, system);
  const isSecure = options.nbd.tlsMode === 'require';
  const connections = () => nbd.connections();
  const report = new StatusReport({
    system,
    exports,
    clock,
    lagClock,
    version,
    memoryBytes,
    residentBytes: () => watch.residentBytes(),
    nbdAddresses: () => nbdAddresses.map(formatNbdAddress),
    connections,
    uris: (name) =>
      nbdAddresses.map((address) =>
        formatNbdUri(reachable(address, options.hostName), name, isSecure),
      ),
  });
  const control = new ControlService(
    system,
    report,
    new Metrics({ system, lagClock, watch, version, memoryBytes, connections }),
    new Verbs({ system, disk, report, event, openUri: openNbdSource }),
  );
  const hooks =
    options.hooks &&
    new Hooks({
      ...options.hooks,
      clock,
      system: system.name,
      dataDirectory,
      event: observers.event,
    });
  return {
    system,
    exports,
    nbd,
    nbdAddresses,
    control,
    announce() {
      if (!hooks) return;
      const changes = new GroupChanges(
        () => [...system.groups.values()].map(hookSubject),
        (notice, subject) => hooks.tell(notice, subject),
        clock,
      );
      happened = () => changes.consider();
      happened();
    },
    async stop(answerMilliseconds) {
      await Promise.all([nbd.stop(answerMilliseconds), hooks?.close(answerMilliseconds / 2)]);
      lagClock.close();
      await system.close();
    },
  };
}

/** Where a client on another machine connects. */
function reachable(address: ListenAddress, hostName: string | undefined): ListenAddress {
  if (address.kind === 'unix' || hostName === undefined) return address;
  return ['0.0.0.0', '::'].includes(address.host) ? { ...address, host: hostName } : address;
}

/** As `--nbd` takes it. */
function formatNbdAddress(address: ListenAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : formatAddress(address);
}

export function realWorld(): World {
  return {
    disk: new NodeDisk(),
    clock: nodeClock,
    random: nodeRandom,
    network: nodeNetwork,
    startApply: (failed) =>
      spawnNodeWorker<ToApply, FromApply>(
        new URL('./volume/apply-thread.ts', import.meta.url),
        'apply',
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
  const watch = watchProcess();
  const event: Observers['event'] = (code, message, fields) => logEvent(log, code, message, fields);
  const hooks = readHookSettings(settings, event);
  const daemon = await composeDaemon(
    realWorld(),
    { watch, event, fatal },
    {
      dataDirectory,
      name: settings.name,
      version,
      memoryBytes: settings.memory ?? memoryBytesDefault,
      nbdAddresses,
      hostName: hostname(),
      nbd: { insecure: isInsecure, ...tlsOptions(settings) },
      ...(hooks ? { hooks: { ...hooks, runner: nodeProcessRunner } } : {}),
    },
  ).catch((error: unknown) => {
    explainTakenDirectory(error, dataDirectory);
    return explainTakenPort(error, nbdAddresses, '--nbd', wanted);
  });
  const server = new ControlServer(daemon.control, {
    dataDirectory,
    listen,
    insecure: isInsecure,
    failed: (error) => setImmediate(() => endAtOnce('programming_error', error)),
  });
  try {
    await server.listen();
  } catch (error) {
    await server.close();
    await daemon.stop(0);
    await explainTakenPort(error, [listen], '--listen', wanted);
  }
  const listening: Result<'serve'> = {
    result: 'listening',
    name: daemon.system.name,
    dataDirectory,
    processId: process.pid,
    nbd: daemon.nbdAddresses.map(formatNbdAddress),
    listen: formatAddress(server.address),
    groups: [...daemon.system.groups.keys()],
  };
  log.info('started', `jnbd ${version} serves ${dataDirectory}`, { ...listening });
  daemon.announce();
  const stop = async (signal: string): Promise<void> => {
    log.info('stopping', `${signal}: answering what is in flight`);
    await Promise.all([server.close(), daemon.stop(answerMillisecondsMax)]);
    watch.close();
    log.info('stopped', 'everything is durable');
    log.flush();
  };
  return { listening, stopped: signalled(log).then(stop) };
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
