import type { ExportDirectory } from '../group/apply/export.ts';
import type { Branch } from '../group/system/branches.ts';
import { hostRefusalOf } from '../group/system/export-refusal.ts';
import { releaseRuleDefault } from '../group/followers/follower-holds.ts';
import type { Group } from '../group/order/group.ts';
import { generationOf } from '../group/catalog/lineage.ts';
import type { Rollbacks } from '../group/system/rollbacks.ts';
import type { System } from '../group/system/system.ts';
import { tailUpdates } from '../group/catalog/taken-over.ts';
import { shownVolumes, type Volume } from '../group/apply/volume.ts';
import { deleteDelayMillisecondsDefault } from '../group/order/deleted-volumes.ts';
import type { CatalogSnapshot } from '../group/catalog/snapshots.ts';
import { formatSchedule } from '../platform/schedule-text.ts';
import type { Clone } from '../group/snapshots/clones.ts';
import type { Clock } from '../platform/clock.ts';
import { recordPayloadBytesMax, slabBytes } from '../platform/limits.ts';
import { indexTablesMax } from '../volume/block-index.ts';
import { BlockTable } from '../volume/block-table.ts';
import { branchStatusOf } from './branch-verbs.ts';
import {
  membersStatus,
  pairsStatus,
  secondariesStatus,
  synchronousStatus,
  upstreamStatus,
} from './follow-status.ts';
import type { Cutting } from './cutting.ts';
import type { Following } from './following.ts';
import type { CopyClock } from './copy-clock.ts';
import type { LagClock } from './lag-clock.ts';
import type { GroupStatus, Status, VolumeStatus } from './schema-status.ts';
import type { CloneStatus, SnapshotStatus } from './schema-snapshot-status.ts';
import {
  cloneStatusOf,
  type SnapshotDoors,
  snapshotsStatus,
  snapshotStatusOf,
} from './snapshot-status.ts';
import { rollbackStatusOf } from './rollback-status.ts';
import { checksumStatusOf } from './checksum-status.ts';
import { historyStatusOf, lastProvenOf, viewsStatus, viewStatusOf } from './view-status.ts';
import type { View } from '../group/views/view.ts';
import type { ViewStatus } from './schema-view-status.ts';
import { verificationStatusOf } from './verify-status.ts';
import type { Verifying } from './verifying.ts';

/** A client as the NBD server sees it. */
export interface ClientConnection {
  readonly peer: string;
  /** The full name of its export; `undefined` while it has none. */
  readonly exportName: string | undefined;
  readonly isSecure: boolean;
  /** Monotonic. */
  readonly startedAt: number;
}

/** What status and metrics are made of. */
export interface StatusSources {
  readonly system: System;
  readonly exports: ExportDirectory;
  readonly clock: Clock;
  readonly lagClock: LagClock;
  readonly copyClock: CopyClock<Group>;
  readonly following: Pick<Following, 'upstream'>;
  readonly cutting: Pick<Cutting, 'list'>;
  readonly verifying: Pick<Verifying, 'progress' | 'last'>;
  readonly rollbacks: Pick<Rollbacks, 'progress'>;
  readonly version: string;
  readonly memoryBytes: number;
  readonly residentBytes: () => number;
  /** Where NBD clients connect, as people write it. */
  readonly nbdAddresses: () => string[];
  /** Where other systems find this one. */
  readonly listenUrl: () => string;
  readonly branches: (group: Group) => readonly Branch[];
  readonly connections: () => ClientConnection[];
  /** The URIs of an export, one for each address. */
  readonly uris: (exportName: string) => string[];
}

/** Who is connected and what can be asked for, looked up once for a whole report. */
class Doors {
  readonly connections: readonly ClientConnection[];
  readonly #openable: ReadonlySet<string>;
  readonly #shortNames = new Map<string, number>();
  readonly #isAlone: boolean;

  constructor(exports: ExportDirectory, connections: readonly ClientConnection[]) {
    this.connections = connections;
    const all = exports.list();
    const openable = all.filter((each) => each.refusal() === undefined);
    this.#openable = new Set(openable.map(({ name }) => name));
    this.#isAlone = all.filter(({ name }) => !name.includes('@')).length === 1;
    for (const { name } of all) {
      const short = name.slice(name.indexOf('/') + 1);
      this.#shortNames.set(short, (this.#shortNames.get(short) ?? 0) + 1);
    }
  }

  /** As `ExportDirectory.find` finds what clients may open now: in full, alone where unique, and empty for the only volume. */
  namesOf(fullName: string): string[] {
    if (!this.#openable.has(fullName)) return [];
    const shortName = fullName.slice(fullName.indexOf('/') + 1);
    return [
      fullName,
      ...(this.#shortNames.get(shortName) === 1 ? [shortName] : []),
      ...(this.#isAlone && !fullName.includes('@') ? [''] : []),
    ];
  }
}

/** Makes the JSON of schema-status.ts from the running system. */
export class StatusReport {
  readonly #sources: StatusSources;
  readonly #startedAt: number;

  constructor(sources: StatusSources) {
    this.#sources = sources;
    this.#startedAt = sources.clock.monotonicMilliseconds();
  }

  read(): Status {
    const { system, clock, version, memoryBytes } = this.#sources;
    const { residentBytes, nbdAddresses, listenUrl } = this.#sources;
    const doors = this.#doors();
    return {
      formatVersion: 1,
      system: {
        name: system.name,
        version,
        uptimeSeconds: (clock.monotonicMilliseconds() - this.#startedAt) / 1000,
        dataDirectory: system.directory,
        nbd: nbdAddresses(),
        listenUrl: listenUrl(),
        memoryBytes,
        residentBytes: residentBytes(),
      },
      groups: [...system.groups.values()].map((group) => this.#group(group, doors)),
      cuts: this.#sources.cutting.list(),
    };
  }

  group(group: Group): GroupStatus {
    return this.#group(group, this.#doors());
  }

  volume(group: Group, volume: Volume): VolumeStatus {
    return this.#volume(group, volume, this.#doors());
  }

  snapshot(group: Group, snapshot: CatalogSnapshot): SnapshotStatus {
    return snapshotStatusOf(group, snapshot, this.#snapshotDoors(this.#doors()));
  }

  clone(group: Group, clone: Clone): CloneStatus {
    return cloneStatusOf(group, clone, this.#snapshotDoors(this.#doors()));
  }

  view(group: Group, view: View): ViewStatus {
    return viewStatusOf(group, view, this.#snapshotDoors(this.#doors()));
  }

  #snapshotDoors(doors: Doors): SnapshotDoors {
    return { namesOf: (name) => doors.namesOf(name), uris: this.#sources.uris };
  }

  #group(group: Group, doors: Doors): GroupStatus {
    const { catalog, watermarks, chain } = group;
    const { following } = this.#sources;
    const { lagClock, copyClock } = this.#sources;
    const followed = following.upstream(group);
    const upstream = upstreamStatus(group, followed, lagClock, copyClock);
    const { released, applied, durable, newest } = watermarks;
    const unsyncedBytes = group.retained.bytes;
    return {
      name: group.name,
      role: group.role,
      state: group.state,
      connection: upstream?.state ?? 'none',
      generation: generationOf(catalog.lineage),
      generationSystem: catalog.lineage.at(-1)?.system ?? this.#sources.system.systemId,
      limitedBy: limitedBy(group),
      watermarks: { released, applied, durable, newest },
      lag: {
        durable: {
          updates: newest - durable,
          bytes: unsyncedBytes,
          seconds: this.#sources.lagClock.ageSeconds(group, durable),
        },
        applied: {
          updates: newest - applied,
          bytes: group.unappliedBytes,
          seconds: this.#sources.lagClock.ageSeconds(group, applied),
        },
      },
      journal: {
        capacityBytes: chain.capacityBytes,
        usedBytes: chain.usedBytes,
        unsyncedBytes,
        minutesToFull: group.minutesToFull(),
        onFull: catalog.onFull,
        syncIntervalMilliseconds: catalog.syncIntervalMilliseconds,
        release: catalog.release ?? releaseRuleDefault,
        copyBytesPerSecond: catalog.copyBytesPerSecond ?? null,
        areaLayout: catalog.areaLayout,
        areas: group.areas.map(({ path, role, state, failure }) => ({
          path,
          role,
          state,
          failure,
        })),
      },
      deleteDelaySeconds:
        (catalog.deleteDelayMilliseconds ?? deleteDelayMillisecondsDefault) / 1000,
      secondaryExports: catalog.secondaryExports ?? 'read-only',
      history: historyStatusOf(group),
      checksums: checksumStatusOf(group),
      volumes: shownVolumes(group.volumes).map((volume) => this.#volume(group, volume, doors)),
      snapshots: snapshotsStatus(group, this.#snapshotDoors(doors)),
      snapshotSchedule: formatSchedule(catalog.snapshotSchedule ?? []),
      clones: group.snapshots.clones.list.map((clone) =>
        cloneStatusOf(group, clone, this.#snapshotDoors(doors)),
      ),
      views: viewsStatus(group, this.#snapshotDoors(doors)),
      rollback: rollbackStatusOf(group, this.#sources.rollbacks),
      lastProven: lastProvenOf(group),
      deletedVolumes: deletedStatus(group),
      pairs: pairsStatus(group, this.#sources.system.name, followed?.resync, lagClock),
      upstream,
      secondaries: secondariesStatus(group, lagClock),
      synchronous: synchronousStatus(group),
      allowedSecondaries: [...(catalog.allowedFollowers ?? [])],
      members: membersStatus(group),
      branches: this.#sources.branches(group).map(branchStatusOf),
      takenOver: takenOver(group),
      verification: verificationStatusOf(this.#sources.verifying, group),
      conditions: group.conditions.list().map((each) => ({ ...each })),
    };
  }

  #volume(group: Group, volume: Volume, doors: Doors): VolumeStatus {
    const { catalog } = volume;
    const fullName = `${group.name}/${catalog.name}`;
    const refusal = hostRefusalOf(group, volume);
    const names = doors.namesOf(fullName);
    // Of a group that is not served hosts get none of its volumes, however those are.
    const isRefusedByGroup = group.state !== 'normal' && volume.state === 'normal';
    const isRefused = isRefusedByGroup || volume.rollsBackTo !== undefined;
    return {
      name: catalog.name,
      sizeBytes: catalog.sizeBytes,
      allocatedBytes: allocatedBytes(group, volume),
      state: isRefusedByGroup ? 'abnormal' : shownState(group, volume),
      failure: isRefused ? (refusal?.message ?? '') : volume.failure,
      journalOnly: catalog.journalOnly,
      maxHosts: catalog.maxHosts,
      backingFile: volume.backingFile === '' ? null : volume.backingFile,
      exports: names,
      uris: names.length > 0 ? this.#sources.uris(fullName) : [],
      clients: doors.connections
        .filter(({ exportName }) => exportName === fullName)
        .map(({ peer, isSecure, startedAt }) => ({
          address: peer,
          export: fullName,
          tls: isSecure,
          connectedSince: this.#timeOf(startedAt),
        })),
      removedAt: null,
    };
  }

  #doors(): Doors {
    return new Doors(this.#sources.exports, this.#sources.connections());
  }

  #timeOf(monotonicMilliseconds: number): string {
    const { clock } = this.#sources;
    const age = clock.monotonicMilliseconds() - monotonicMilliseconds;
    return new Date(clock.wallMilliseconds() - age).toISOString();
  }
}

function takenOver(group: Group): GroupStatus['takenOver'] {
  if (!group.catalog.takenOver) return null;
  const { generation, fork, name: system, url } = group.catalog.takenOver;
  return {
    generation,
    fork,
    system,
    url,
    updates: tailUpdates(group.catalog, group.watermarks.newest),
  };
}

/** K2: hidden from hosts, so `unused`. */
function deletedStatus({ deleted }: Group): VolumeStatus[] {
  const volumes = deleted.list().filter(({ kept }) => kept.entry.preserves === undefined);
  return volumes.map(({ kept: { entry, ...times }, volume }) => ({
    name: entry.name,
    sizeBytes: entry.sizeBytes,
    allocatedBytes: volume?.file?.allocatedBytesSync() ?? 0,
    state: 'unused',
    failure: `deleted at its source at ${new Date(times.deletedAtMilliseconds).toISOString()}`,
    journalOnly: false,
    maxHosts: entry.maxHosts,
    backingFile: volume?.backingFile ?? null,
    exports: [],
    uris: [],
    clients: [],
    removedAt: new Date(times.removeAtMilliseconds).toISOString(),
  }));
}

/** K2: a normal volume shows what it is to hosts. */
function shownState(group: Group, { state, rollsBackTo }: Volume): VolumeStatus['state'] {
  if (state !== 'normal') return state;
  if (rollsBackTo !== undefined) return 'unused';
  if (group.role !== 'primary') return 'secondary';
  return group.followers.list().length > 0 ? 'primary' : 'normal';
}

function allocatedBytes(group: Group, volume: Volume): number {
  // A closed group's files are closed too.
  if (!volume.file || group.state === 'closed') return 0;
  return volume.file.allocatedBytesSync();
}

const slabNodes = BlockTable.nodesFor(slabBytes, true);

/** What makes hosts wait, or be refused, at this instant. */
function limitedBy(group: Group): GroupStatus['limitedBy'] {
  if (group.state !== 'normal') return null;
  if (group.conditions.list().some(({ code }) => code === 'volume_space')) return 'space';
  if (group.journalIsFullFor(recordPayloadBytesMax)) return 'journal';
  const { chain, index, journal } = group;
  const journalWaits = !chain.hasRoom(recordPayloadBytesMax) && !chain.standbyReady;
  const indexWaits =
    index.frozenCount === indexTablesMax - 1 &&
    !index.active.hasRoom(slabNodes, chain.current.header.sequence + 1);
  if (journalWaits || indexWaits) return 'apply';
  if (journal.waitsForSync) return 'sync';
  return group.conditions.has(group.name, 'sync_stalled') ? 'followers' : null;
}
