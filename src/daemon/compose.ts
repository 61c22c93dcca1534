/** Puts a daemon together from parts that touch the world, which are given to it. */
import type { LoadWatch } from '../platform/own-load.ts';
import { EventHistory } from '../control/events.ts';
import { changeEvent, GroupChanges, hookSubject } from '../control/group-changes.ts';
import { Hooks } from '../control/hooks.ts';
import type { HookSettings } from '../control/hooks-directory.ts';
import type { ProcessRunner } from '../platform/process-runner.ts';
import { CopyClock } from '../control/copy-clock.ts';
import { LagClock } from '../control/lag-clock.ts';
import { Metrics } from '../control/metrics.ts';
import type { ProcessWatch } from '../control/process-watch.ts';
import { ControlService } from '../control/service.ts';
import { StatusReport } from '../control/status.ts';
import { Verbs } from '../control/verbs.ts';
import { missingContentsBytes } from '../group/volumes/missing-contents.ts';
import { listBranches } from '../group/system/branches.ts';
import type { Group } from '../group/order/group.ts';
import { systemNameOf } from '../group/catalog/names.ts';
import { SystemExports } from '../group/system/exports.ts';
import { Rollbacks } from '../group/system/rollbacks.ts';
import { SnapshotSchedules } from '../group/system/snapshot-schedules.ts';
import { System, type SystemDependencies } from '../group/system/system.ts';
import { openNbdSource } from '../nbd/import-source.ts';
import { NbdServer, type NbdServerOptions } from '../nbd/server.ts';
import { formatNbdUri } from '../nbd/uri.ts';
import { JnbdError } from '../platform/errors.ts';
import { formatAddress, type ListenAddress, type Network } from '../platform/network.ts';
import { FollowedGroups } from '../replicator/roles/followed-groups.ts';
import { Verifications } from '../replicator/verify/verifications.ts';
import { Cuts } from '../replicator/cuts/cuts.ts';
import { PrimaryWatch } from '../replicator/roles/primary-watch.ts';
import { otherSystems } from '../replicator/peers/other-systems.ts';
import { Secondaries } from '../replicator/peers/secondaries.ts';
import { type ForwardedAnswer, Source } from '../replicator/source/source.ts';
import type { FromSource, ToSource } from '../replicator/source/source-messages.ts';
import { answerRequest } from '../replicator/peers/source-requests.ts';
import type {
  ClientCredentials,
  IncomingRequest,
  Transport,
  TransportListenOptions,
} from '../replicator/transport/transport.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import { followingOf } from './following.ts';

/** What a daemon works with: a simulation replaces these parts, and no others. */
export interface World
  extends Pick<SystemDependencies, 'disk' | 'clock' | 'random' | 'startApply'> {
  readonly network: Network;
  /** To other systems; the source worker has its own. */
  readonly transport: Transport;
  readonly startSource: (failed: (error: Error) => void) => WorkerPort<ToSource, FromSource>;
}

/** Who hears of a daemon. What it does for hosts does not depend on them. */
export interface Observers extends Pick<SystemDependencies, 'event' | 'fatal'> {
  readonly watch: ProcessWatch;
  readonly load: LoadWatch;
}

/** The rights in a certificate are for the worker to read. */
export type SourceListenOptions = Omit<TransportListenOptions, 'rightsOf'>;

export interface DaemonOptions {
  /** Absolute. */
  readonly dataDirectory: string;
  /** For a new system; undefined: as its host. */
  readonly name: string | undefined;
  /** In place of the name that the system has. */
  readonly rename?: string | undefined;
  readonly version: string;
  readonly memoryBytes: number;
  /** For tests: infinite where no points of checksums are to be numbered. */
  readonly checksumPointMilliseconds?: number;
  readonly nbdAddresses: readonly ListenAddress[];
  /** By which other machines know this one; stands in URIs where an address means any of its own. */
  readonly hostName?: string;
  readonly nbd: Omit<NbdServerOptions, 'replyBytesMax'>;
  readonly hooks?: HookSettings & { readonly runner: ProcessRunner };
  /** Where other systems reach this one, and whoever reads status and metrics. */
  readonly listen: SourceListenOptions;
  /** Answers what is asked there and is no matter of replication. */
  readonly answerOthers: (incoming: IncomingRequest) => Promise<ForwardedAnswer>;
  /** What proves this system to sources at `https:`. */
  readonly credentials?: ClientCredentials | undefined;
  /** No group is served before a member said that nobody took over. */
  readonly mustConfirmPrimary?: boolean;
}

export interface ComposedDaemon {
  readonly system: System;
  readonly exports: SystemExports;
  readonly nbd: NbdServer;
  /** As bound. */
  readonly nbdAddresses: readonly ListenAddress[];
  readonly listenAddress: ListenAddress;
  readonly control: ControlService;
  readonly followed: FollowedGroups;
  readonly cuts: Cuts;
  readonly events: EventHistory;
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
  const { watch, load, fatal } = observers;
  const { version, memoryBytes, dataDirectory } = options;
  const events = new EventHistory(clock);
  let happened = (): void => undefined;
  const event: Observers['event'] = (code, message, fields) => {
    observers.event(code, message, fields);
    events.add(code, message, fields);
    happened();
  };
  const system = await System.open({ ...world, event, fatal }, dataDirectory, {
    name: options.name ?? systemNameOf(options.hostName ?? ''),
    rename: options.rename,
    memoryBytes,
    checksumPointMilliseconds: options.checksumPointMilliseconds,
  });
  const { name, rename } = options;
  if (name !== undefined && name !== system.name && rename === undefined) {
    await system.close();
    throw new JnbdError(
      'exists_differently',
      `the system in ${dataDirectory} is named ${system.name}, not ${name}; leave --name out, or give it that name with --rename ${name}`,
    );
  }
  const exports = new SystemExports(system, disk);
  const nbd = new NbdServer(
    { network, clock, exports },
    { ...options.nbd, replyBytesMax: system.memory.replyBytes },
  );
  let listenAddress: { readonly host: string; readonly port: number } | undefined;
  const listenPort = (): number => listenAddress?.port ?? options.listen.address.port;
  // Before anybody can connect.
  const primaryWatch = new PrimaryWatch(system, {
    clock,
    event,
    transport: world.transport,
    credentials: options.credentials,
    mustConfirm: options.mustConfirmPrimary ?? false,
    listenPort,
  });
  let nbdAddresses: ListenAddress[];
  try {
    nbdAddresses = await nbd.listen(options.nbdAddresses);
  } catch (error) {
    await system.close();
    throw error;
  }
  const hooks =
    options.hooks &&
    new Hooks({
      ...options.hooks,
      clock,
      system: system.name,
      dataDirectory,
      event,
    });
  const beforePromote = async (group: Group): Promise<void> =>
    hooks?.ask('before-promote', hookSubject(group));
  const followed = new FollowedGroups(system, {
    disk,
    clock,
    event,
    transport: world.transport,
    credentials: options.credentials,
    load: () => load.read(),
    listenPort,
    beforePromote,
    mustConfirm: options.mustConfirmPrimary ?? false,
  });
  const cuts = new Cuts({
    system,
    clock,
    event,
    random: world.random,
    transport: world.transport,
    credentials: options.credentials,
    beforePromote,
    promote: (name, at) => followed.promote(name, { force: false, at }),
  });
  const isOpenToAll = options.listen.cleartext === 'anywhere';
  const verifying = new Verifications({
    system,
    clock,
    event,
    isOpenToAll,
    transport: world.transport,
    credentials: options.credentials,
    bring: (group, regions, shows) =>
      followed.comparisons.begin(group, { regions, contents: { shows } }),
  });
  const secondaries = new Secondaries(system, {
    transport: world.transport,
    credentials: options.credentials,
    listenPort,
    event,
  });
  const rollbacks = new Rollbacks({ clock, event, random: world.random }, system);
  const following = followingOf(system, followed, secondaries, rollbacks, (group, isAsked) =>
    otherSystems(
      { transport: world.transport, credentials: options.credentials, listenPort },
      system,
      group,
      isAsked,
    ),
  );
  const source = new Source({
    systemId: system.systemId,
    clock,
    port: world.startSource(fatal),
    answer: (incoming) =>
      answerRequest(
        {
          system,
          follows: followed,
          isOpenToAll,
          load: () => load.read(),
          asked: (...news) => primaryWatch.asked(...news),
          others: (asked) =>
            cuts.answer(asked) ?? verifying.answer(asked) ?? options.answerOthers(asked),
        },
        incoming,
      ),
    refused: (peer, why) => event('peer_refused', `${peer} was not let in: ${why}`, { peer }),
  });
  for (const group of system.groups.values()) source.add(group);
  system.watchers.add({
    groupOpened: (group) => source.add(group),
    groupClosing: (group) => source.remove(group, system.isRestarting(group.name)),
  });
  const schedules = new SnapshotSchedules({ clock, event }, system);
  const lagClock = new LagClock(clock, system);
  const copyClock = new CopyClock(
    clock,
    system,
    (group) => missingContentsBytes(group) + (following.upstream(group)?.resync?.missingBytes ?? 0),
  );
  const isSecure = options.nbd.tlsMode === 'require';
  const connections = () => nbd.connections();
  const report = new StatusReport({
    system,
    exports,
    clock,
    lagClock,
    copyClock,
    following,
    cutting: cuts,
    verifying,
    rollbacks,
    version,
    memoryBytes,
    residentBytes: () => watch.residentBytes(),
    nbdAddresses: () => nbdAddresses.map(formatNbdAddress),
    listenUrl: () => {
      const { tls, address } = options.listen;
      const bound = reachable({ kind: 'tcp', ...(listenAddress ?? address) }, options.hostName);
      return `${tls ? 'https' : 'http'}://${formatAddress(bound)}`;
    },
    connections,
    branches: (group) => listBranches(disk, system.filesOf(group)),
    uris: (name) =>
      nbdAddresses.map((address) =>
        formatNbdUri(reachable(address, options.hostName), name, isSecure),
      ),
  });
  const control = new ControlService(
    system,
    report,
    new Metrics({
      system,
      lagClock,
      copyClock,
      following,
      cutting: cuts,
      verifying,
      watch,
      version,
      memoryBytes,
      connections,
    }),
    new Verbs({
      system,
      disk,
      report,
      following,
      cutting: cuts,
      verifying,
      rollbacks,
      clock,
      beforePromote,
      event,
      openUri: openNbdSource,
    }),
    events,
  );
  try {
    listenAddress = await source.listen(options.listen);
  } catch (error) {
    await nbd.stop(0);
    await source.close(0);
    cuts.close();
    verifying.close();
    lagClock.close();
    copyClock.close();
    await system.close();
    throw error;
  }
  followed.start();
  cuts.start();
  schedules.start();
  rollbacks.start();
  await primaryWatch.start();
  return {
    system,
    exports,
    nbd,
    nbdAddresses,
    listenAddress: { kind: 'tcp', ...listenAddress },
    control,
    followed,
    cuts,
    events,
    announce() {
      const changes = new GroupChanges(
        () => [...system.groups.values()].map(hookSubject),
        (notice, subject) => {
          if (notice === 'state-changed') {
            const { code, message } = changeEvent(subject);
            event(code, message, { group: subject.group });
          }
          hooks?.tell(notice, subject);
        },
        clock,
        (name) => system.isRestarting(name),
      );
      happened = () => changes.consider();
      happened();
    },
    async stop(answerMilliseconds) {
      schedules.close();
      rollbacks.close();
      cuts.close();
      verifying.close();
      followed.close();
      primaryWatch.close();
      await Promise.all([
        nbd.stop(answerMilliseconds),
        source.close(answerMilliseconds),
        hooks?.close(answerMilliseconds / 2),
      ]);
      lagClock.close();
      copyClock.close();
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
export function formatNbdAddress(address: ListenAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : formatAddress(address);
}
