import { configureGroup, checkSyncInterval } from '../group/system/group-settings.ts';
import type { Group } from '../group/order/group.ts';
import { type BlockSource, importVolume, openFileSource } from '../group/volumes/import.ts';
import type { Rollbacks } from '../group/system/rollbacks.ts';
import type { System } from '../group/system/system.ts';
import { shownVolumes, type Volume } from '../group/apply/volume.ts';
import {
  changeVolume,
  createVolume,
  deleteVolume,
  resizeVolume,
} from '../group/volumes/volume-changes.ts';
import type { Clock } from '../platform/clock.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { formatExactSize } from '../platform/size-text.ts';
import { BranchVerbs } from './branch-verbs.ts';
import { CutVerbs } from './cut-verbs.ts';
import type { Cutting } from './cutting.ts';
import { FollowVerbs } from './follow-verbs.ts';
import { rollBack } from './rollback-verbs.ts';
import { SnapshotVerbs } from './snapshot-verbs.ts';
import { ViewVerbs } from './view-verbs.ts';
import { verify } from './verify-verbs.ts';
import type { Verifying } from './verifying.ts';
import type { Following } from './following.ts';
import type { ChangeVerbName, Parameters, Result } from './schema.ts';
import type { StatusReport } from './status.ts';
import type { VerbCall } from './verb-call.ts';

export interface VerbSources {
  readonly system: System;
  readonly disk: Disk;
  readonly report: StatusReport;
  readonly following: Following;
  readonly cutting: Cutting;
  readonly verifying: Verifying;
  readonly rollbacks: Rollbacks;
  readonly clock: Clock;
  readonly beforePromote: (group: Group) => Promise<void>;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  /** Opens an NBD URI to read from. `undefined`: the text is no such URI. */
  readonly openUri: (uri: string) => Promise<BlockSource> | undefined;
}

/** Carries out the verbs that change something. */
export class Verbs {
  readonly #sources: VerbSources;
  readonly #follow: FollowVerbs;
  readonly #branch: BranchVerbs;
  readonly #cut: CutVerbs;
  readonly #snapshot: SnapshotVerbs;
  readonly #view: ViewVerbs;
  readonly #verbs: {
    readonly [Name in ChangeVerbName]: (
      parameters: Parameters<Name>,
      call: VerbCall,
    ) => Promise<Result<Name>>;
  } = {
    'group create': (parameters) => this.#createGroup(parameters),
    'group configure': (parameters) => this.#configureGroup(parameters),
    'group delete': (parameters) => this.#deleteGroup(parameters),
    'volume create': (parameters, call) => this.#createVolume(parameters, call),
    'volume resize': (parameters) => this.#resizeVolume(parameters),
    'volume configure': (parameters) => this.#configureVolume(parameters),
    'volume delete': (parameters) => this.#deleteVolume(parameters),
    'volume rollback': (parameters, call) => rollBack(this.#sources, parameters, call),
    follow: (parameters) => this.#follow.follow(parameters),
    unfollow: (parameters) => this.#follow.unfollow(parameters),
    suspend: (parameters) => this.#follow.suspend(parameters, true),
    resume: (parameters) => this.#follow.suspend(parameters, false),
    promote: (parameters) => this.#follow.promote(parameters),
    demote: (parameters) => this.#follow.demote(parameters),
    handoff: (parameters) => this.#follow.handOff(parameters),
    'branch export': (parameters) => this.#branch.export(parameters),
    'branch delete': (parameters) => this.#branch.delete(parameters),
    'secondary allow': (parameters) => this.#follow.allow(parameters),
    'secondary add': (parameters) => this.#follow.add(parameters),
    'secondary remove': (parameters) => this.#follow.remove(parameters),
    'snapshot create': (parameters) => this.#snapshot.create(parameters),
    'snapshot export': (parameters) => this.#snapshot.export(parameters),
    'snapshot schedule': (parameters) => this.#snapshot.schedule(parameters),
    'snapshot delete': (parameters) => this.#snapshot.delete(parameters),
    'view create': (parameters) => this.#view.create(parameters),
    'view delete': (parameters) => this.#view.delete(parameters),
    'view diff': (parameters) => this.#view.diff(parameters),
    'view prove': (parameters) => this.#view.prove(parameters),
    verify: (parameters, call) => verify(this.#sources, parameters, call),
    'cut create': (parameters) => this.#cut.create(parameters),
    'cut mark': (parameters, call) => this.#cut.mark(parameters, call.signal),
    'cut status': (parameters) => this.#cut.status(parameters),
    'cut promote': (parameters) => this.#cut.promote(parameters),
    'cut delete': (parameters) => this.#cut.delete(parameters),
  };

  constructor(sources: VerbSources) {
    this.#sources = sources;
    this.#follow = new FollowVerbs(sources);
    this.#branch = new BranchVerbs(sources);
    this.#cut = new CutVerbs(sources);
    this.#snapshot = new SnapshotVerbs(sources);
    this.#view = new ViewVerbs(sources);
  }

  run<Name extends ChangeVerbName>(
    name: Name,
    parameters: Parameters<Name>,
    call: VerbCall,
  ): Promise<Result<Name>> {
    return this.#verbs[name](parameters, call);
  }

  async #createGroup(parameters: Parameters<'group create'>): Promise<Result<'group create'>> {
    const { journalSize, journalDir, areas, onFull, syncInterval } = parameters;
    checkSyncInterval(syncInterval);
    const { group, created } = await this.#sources.system.createGroup(parameters.group, {
      ...(journalSize === undefined ? {} : { journalCapacityBytes: journalSize }),
      ...(journalDir === undefined ? {} : { journalDirectories: journalDir }),
      ...(areas === undefined ? {} : { areaLayout: areas }),
      ...(onFull === undefined ? {} : { onFull }),
      ...(syncInterval === undefined ? {} : { syncIntervalMilliseconds: syncInterval }),
    });
    if (created) {
      this.#event('group_created', `group ${group.name} was created`, group);
    } else {
      refuseDifferent(group, parameters);
    }
    return this.#groupResult(group, created);
  }

  #configureGroup(parameters: Parameters<'group configure'>): Promise<Result<'group configure'>> {
    const group = this.#sources.system.group(parameters.group);
    const { group: _, ...settings } = parameters;
    if (Object.values(settings).every((value) => value === undefined)) {
      throw new JnbdError(
        'argument_invalid',
        'group configure: say what to change: --on-full, --areas, --sync-interval, --release, --copy-rate, --branch-budget, --secondary-exports, --delete-delay, --history, --checksums, --sync-wait, --sync-timeout or --on-sync-loss',
      );
    }
    const changed = configureGroup(group, {
      onFull: settings.onFull,
      areaLayout: settings.areas,
      syncIntervalMilliseconds: settings.syncInterval,
      release: settings.release,
      copyBytesPerSecond: settings.copyRate,
      branchBudgetBytes: settings.branchBudget,
      secondaryExports: settings.secondaryExports,
      deleteDelayMilliseconds: settings.deleteDelay,
      history: settings.history,
      checksums: settings.checksums === undefined ? undefined : settings.checksums === 'on',
      synchronous: {
        ...(settings.syncWait === undefined ? {} : { wait: settings.syncWait }),
        ...(settings.syncTimeout === undefined
          ? {}
          : { timeoutMilliseconds: settings.syncTimeout }),
        ...(settings.onSyncLoss === undefined ? {} : { onLoss: settings.onSyncLoss }),
      },
    });
    if (changed) this.#event('group_configured', `group ${group.name} was configured`, group);
    return Promise.resolve(this.#groupResult(group, changed));
  }

  async #deleteGroup(parameters: Parameters<'group delete'>): Promise<Result<'group delete'>> {
    const { system, event } = this.#sources;
    const deleted = await system.deleteGroup(parameters.group, parameters.force ?? false);
    if (deleted) {
      event('group_deleted', `group ${parameters.group} was deleted`, { group: parameters.group });
    }
    return { result: deleted ? 'done' : 'already_done' };
  }

  async #createVolume(
    { volume: path, size, from, journalOnly = false }: Parameters<'volume create'>,
    call: VerbCall,
  ): Promise<Result<'volume create'>> {
    const { system, disk } = this.#sources;
    const group = system.group(path.group);
    if (from === undefined) {
      if (size === undefined) {
        throw new JnbdError(
          'argument_invalid',
          'volume create: say how large: --size 10GiB, or --from FILE for the contents of a file',
        );
      }
      const made = await createVolume(disk, group, system.filesOf(group), path.volume, {
        sizeBytes: size,
        journalOnly,
      });
      if (made.created) this.#volumeEvent('volume_created', 'was created', group, made.volume);
      else refuseUnfinished(group, made.volume);
      return this.#volumeResult(group, made.volume, made.created);
    }
    if (journalOnly) {
      throw new JnbdError(
        'argument_invalid',
        'volume create: --journal-only stores nothing, so it takes no --from',
      );
    }
    const source = await this.#openSource(from);
    try {
      return await this.#fillVolume(group, path.volume, size, source, call);
    } finally {
      await source.close();
    }
  }

  async #fillVolume(
    group: Group,
    name: string,
    size: number | undefined,
    source: BlockSource,
    call: VerbCall,
  ): Promise<Result<'volume create'>> {
    const { system, disk } = this.#sources;
    const sizeBytes = size ?? Math.ceil(source.sizeBytes / 512) * 512;
    if (sizeBytes < source.sizeBytes || sizeBytes === 0) {
      throw new JnbdError(
        'argument_invalid',
        sizeBytes === 0
          ? `${source.name} is empty; say how large the volume is to be without --from: --size 10GiB`
          : `${source.name} has ${formatExactSize(source.sizeBytes)}, which does not fit --size ${formatExactSize(sizeBytes)}`,
      );
    }
    const files = system.filesOf(group);
    const settings = { sizeBytes, journalOnly: false, filledFrom: source.name };
    const { volume, writer } = await createVolume(disk, group, files, name, settings);
    if (!writer) {
      refuseUnfinished(group, volume);
      return this.#volumeResult(group, volume, false);
    }
    this.#volumeEvent('import_started', `is being filled from ${source.name}`, group, volume);
    try {
      const totalBytes = source.sizeBytes;
      await importVolume(group, volume, writer, source, {
        signal: call.signal,
        reached: (bytes) => call.progress({ bytes, totalBytes }),
      });
    } catch (error) {
      this.#volumeEvent('import_failed', 'was not filled and is deleted again', group, volume);
      // In a group that fails or closes it stays, unused, and the next start tells of it.
      if (group.state === 'normal') await deleteVolume(group, name, true, volume);
      throw error;
    }
    this.#volumeEvent('volume_created', `was created from ${source.name}`, group, volume);
    return this.#volumeResult(group, volume, true);
  }

  #openSource(from: string): Promise<BlockSource> {
    const opening = this.#sources.openUri(from);
    if (opening) return opening;
    if (/^[a-z][a-z0-9+]*:\/\//i.test(from)) {
      throw new JnbdError(
        'argument_invalid',
        `volume create: --from ${from} is neither a file nor the URI of an NBD export, such as nbd://HOST/EXPORT`,
      );
    }
    return Promise.resolve(openFileSource(this.#sources.disk, from));
  }

  async #resizeVolume(parameters: Parameters<'volume resize'>): Promise<Result<'volume resize'>> {
    const { group, volume } = this.#find(parameters.volume);
    const changed = await resizeVolume(group, volume, parameters.size);
    if (changed) {
      this.#volumeEvent(
        'volume_resized',
        `has ${formatExactSize(parameters.size)} now`,
        group,
        volume,
      );
    }
    return this.#volumeResult(group, volume, changed);
  }

  async #configureVolume(
    parameters: Parameters<'volume configure'>,
  ): Promise<Result<'volume configure'>> {
    const { group, volume } = this.#find(parameters.volume);
    const { maxHosts } = parameters;
    if (maxHosts === undefined) {
      throw new JnbdError(
        'argument_invalid',
        'volume configure: say what to change, such as --max-hosts 1',
      );
    }
    const changed = maxHosts !== volume.catalog.maxHosts;
    if (changed) {
      await changeVolume(group, volume, { maxHosts });
      this.#volumeEvent('volume_configured', 'was configured', group, volume);
    }
    return this.#volumeResult(group, volume, changed);
  }

  async #deleteVolume(parameters: Parameters<'volume delete'>): Promise<Result<'volume delete'>> {
    const { event, system } = this.#sources;
    const { group: groupName, volume: name } = parameters.volume;
    // A volume of a group that is not there is not there either.
    const group = system.groups.get(groupName);
    const deleted = group ? await deleteVolume(group, name, parameters.force ?? false) : false;
    if (deleted) {
      const volume = `${groupName}/${name}`;
      event('volume_deleted', `volume ${volume} was deleted`, { group: groupName, volume });
    }
    return { result: deleted ? 'done' : 'already_done' };
  }

  #find(path: { readonly group: string; readonly volume: string }): {
    group: Group;
    volume: Volume;
  } {
    const group = this.#sources.system.group(path.group);
    const volume = group.volumes.get(path.volume);
    if (volume) return { group, volume };
    const names = shownVolumes(group.volumes).map(({ catalog }) => catalog.name);
    throw new JnbdError(
      'volume_not_found',
      `volume ${path.group}/${path.volume} does not exist; group ${path.group} has: ${names.join(', ') || 'none'}`,
    );
  }

  #groupResult(group: Group, changed: boolean): Result<'group create'> {
    return {
      result: changed ? 'done' : 'already_done',
      group: this.#sources.report.group(group),
    };
  }

  #volumeResult(group: Group, volume: Volume, changed: boolean): Result<'volume create'> {
    return {
      result: changed ? 'done' : 'already_done',
      group: group.name,
      volume: this.#sources.report.volume(group, volume),
    };
  }

  #event(code: string, message: string, group: Group): void {
    this.#sources.event(code, message, { group: group.name });
  }

  #volumeEvent(code: string, what: string, group: Group, volume: Volume): void {
    const name = `${group.name}/${volume.catalog.name}`;
    this.#sources.event(code, `volume ${name} ${what}`, { group: group.name, volume: name });
  }
}

/** Settings that `group create` found otherwise; what cannot be changed was compared before. */
function refuseDifferent(group: Group, parameters: Parameters<'group create'>): void {
  const { onFull, syncIntervalMilliseconds } = group.catalog;
  const different = [
    ...(parameters.onFull !== undefined && parameters.onFull !== onFull
      ? [`--on-full is ${onFull}, not ${parameters.onFull}`]
      : []),
    ...(parameters.syncInterval !== undefined &&
    parameters.syncInterval !== syncIntervalMilliseconds
      ? [`--sync-interval is ${syncIntervalMilliseconds}ms, not ${parameters.syncInterval}ms`]
      : []),
  ];
  if (different.length === 0) return;
  throw new JnbdError(
    'exists_differently',
    `group ${group.name} exists, but ${different.join('; ')}; change it with: jnbd group configure ${group.name}`,
  );
}

/** A volume that is, or was, being filled is not what was asked for. */
function refuseUnfinished(group: Group, volume: Volume): void {
  if (volume.state !== 'unused') return;
  const name = `${group.name}/${volume.catalog.name}`;
  throw new JnbdError(
    'state_refuses',
    volume.sessions.size > 0
      ? `volume ${name} is being filled by another command; wait for that one`
      : `volume ${name} exists, but the import into it was not finished; delete it first: jnbd volume delete ${name}`,
  );
}
