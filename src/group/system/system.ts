import { ReceiveSlabPool } from '../../journal/receive-slab.ts';
import type { Disk, FileLock } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import {
  checksumPointMillisecondsDefault,
  journalCapacityBytesDefault,
  journalCapacityBytesMin,
  syncIntervalMillisecondsDefault,
} from '../../platform/limits.ts';
import { formatExactSize, formatSize } from '../../platform/size-text.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { closedGroup } from '../catalog/closed-group.ts';
import { lockDirectory, type SystemIdentity } from '../catalog/data-directory.ts';
import type { GroupDependencies, GroupLimits } from '../order/group-dependencies.ts';
import { shownVolumes } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';
import { emergencyDirectory, GroupFiles, ownJournalDirectory } from '../catalog/group-files.ts';
import {
  type GroupBeginning,
  isUnfinished,
  makeGroupFiles,
  removeGroupFiles,
} from './make-group.ts';
import {
  divideMemory,
  groupLimits,
  type MemoryShares,
  type SystemOptions,
} from './memory-shares.ts';
import { checkName } from '../catalog/names.ts';
import { checkPaths, checkSame, type GroupSettings } from '../catalog/new-group.ts';
import { keepClones } from './kept-clones.ts';
import { openGroup } from './open-group.ts';
import { planRestart, type RestartPlan } from './restart-journal.ts';
import { type GroupOrigin, secondaryBeginning, secondaryCatalog } from './secondary-group.ts';

const openAgainMilliseconds = 5000;

export type SystemDependencies = Omit<GroupDependencies, 'pool' | 'systemId'>;

export interface SystemWatcher {
  groupOpened(group: Group): void;
  groupClosing(group: Group): void;
}

/** One data directory: its lock, its identity and its groups. */
export class System {
  readonly directory: string;
  readonly pool: ReceiveSlabPool;
  readonly memory: MemoryShares;
  readonly groups = new Map<string, Group>();
  /** Told when a group is opened later than the system, and before it is closed earlier. */
  readonly watchers = new Set<SystemWatcher>();
  readonly #deps: GroupDependencies;
  readonly #checksumPointMilliseconds: number;
  readonly #lock: FileLock;
  readonly #identity: SystemIdentity;
  /** Names of groups that are being made or deleted. */
  readonly #busy = new Set<string>();
  /** Names of groups that could not be made or deleted to the end; what is there is nobody's. */
  readonly #left = new Set<string>();
  /** Groups whose journal begins anew: they are closed, and opened again. */
  readonly #restarting = new Map<string, { readonly groupId: string; opened: Promise<unknown> }>();
  #isClosing = false;

  private constructor(
    deps: SystemDependencies,
    directory: string,
    { checksumPointMilliseconds = checksumPointMillisecondsDefault }: SystemOptions,
    memory: MemoryShares,
    lock: FileLock,
    identity: SystemIdentity,
  ) {
    this.directory = directory;
    this.memory = memory;
    this.pool = new ReceiveSlabPool(memory.slabs);
    this.#deps = { ...deps, pool: this.pool, systemId: identity.systemId };
    this.#checksumPointMilliseconds = checksumPointMilliseconds;
    this.#lock = lock;
    this.#identity = identity;
  }

  get name(): string {
    return this.#identity.name;
  }
  get disk(): Disk {
    return this.#deps.disk;
  }
  get systemId(): number {
    return this.#identity.systemId;
  }

  /**
   * Locks the directory, makes it a system if it is empty, and recovers its groups. A group that
   * cannot be opened at all is an error of the whole start: nothing is served half.
   */
  static async open(
    deps: SystemDependencies,
    directory: string,
    options: SystemOptions,
  ): Promise<System> {
    const memory = divideMemory(options.memoryBytes);
    const { lock, identity } = lockDirectory(deps, directory, options);
    const system = new System(deps, directory, options, memory, lock, identity);
    try {
      await system.#openGroups();
    } catch (error) {
      await system.close();
      throw error;
    }
    return system;
  }

  group(name: string): Group {
    const group = this.groups.get(name);
    if (!group && this.isRestarting(name)) throw opening(name);
    if (!group) {
      const names = [...this.groups.keys()].join(', ') || 'none';
      throw new JnbdError('group_not_found', `group ${name} does not exist; there are: ${names}`);
    }
    return group;
  }

  /** By its id. Throws group_opening. */
  findById(groupId: string): Group | undefined {
    for (const [name, restarting] of this.#restarting) {
      if (restarting.groupId === groupId && !this.groups.has(name)) throw opening(name);
    }
    return this.openById(groupId);
  }

  /** Undefined also while its journal begins anew. */
  openById(groupId: string): Group | undefined {
    return [...this.groups.values()].find(({ catalog }) => catalog.groupId === groupId);
  }

  async createGroup(
    name: string,
    settings: GroupSettings,
  ): Promise<{ group: Group; created: boolean }> {
    checkName('group', name);
    const capacityBytes = settings.journalCapacityBytes ?? journalCapacityBytesDefault;
    const existing = this.groups.get(name);
    if (existing) {
      checkSame(existing.catalog, this.#files(name), settings);
      return { group: existing, created: false };
    }
    if (capacityBytes < journalCapacityBytesMin) {
      throw new JnbdError(
        'argument_invalid',
        `--journal-size ${formatExactSize(capacityBytes)} is too small; at least ${formatSize(journalCapacityBytesMin)}`,
      );
    }
    const paths = checkPaths(settings);
    const catalog = this.#newCatalog(name, capacityBytes, settings, paths);
    return { group: await this.#make(name, catalog), created: true };
  }

  async #make(name: string, catalog: Catalog, beginning?: GroupBeginning): Promise<Group> {
    this.#claim(name);
    const files = this.#files(name);
    try {
      this.#removeLeft(name);
      await makeGroupFiles(this.#deps, files, catalog, beginning);
      const group = await openGroup(this.#deps, this.#groupLimits(), files);
      this.groups.set(name, group);
      for (const watcher of this.watchers) watcher.groupOpened(group);
      return group;
    } catch (error) {
      if (this.#deps.disk.isDirectorySync(files.directory)) this.#left.add(name);
      throw error;
    } finally {
      this.#busy.delete(name);
    }
  }

  /** A group that another system has, to follow it here. Its name and its files are free. */
  async createSecondary(
    name: string,
    origin: GroupOrigin,
    settings: GroupSettings,
  ): Promise<Group> {
    checkName('group', name);
    if (this.groups.has(name)) {
      throw new JnbdError('exists_differently', `group ${name} exists`);
    }
    const paths = checkPaths(settings);
    const capacityBytes = settings.journalCapacityBytes ?? journalCapacityBytesDefault;
    const catalog = secondaryCatalog(
      this.#newCatalog(name, capacityBytes, settings, paths),
      origin,
    );
    return this.#make(
      name,
      catalog,
      secondaryBeginning(this.#deps.disk, this.#files(name), origin),
    );
  }

  /** False: it did not exist. */
  async deleteGroup(name: string, force: boolean): Promise<boolean> {
    const group = this.groups.get(name);
    if (!group) return this.#removeLeft(name);
    const volumes = shownVolumes(group.volumes);
    if (volumes.length > 0 && !force) {
      throw new JnbdError(
        'group_not_empty',
        `group ${name} has ${volumes.length} volumes (${volumes.map(({ catalog }) => catalog.name).join(', ')}); delete them first, or add --force, which deletes all their data`,
      );
    }
    // Also what this system writes itself, while it imports, repairs or rolls back.
    const peers = new Set([...group.sessions()].map(({ client }) => client.peer));
    if (peers.size > 0) {
      throw new JnbdError(
        'volume_in_use',
        `group ${name} is in use by ${[...peers].join(', ')}; end that first`,
      );
    }
    const followers = group.followers.list().map((follower) => follower.name);
    if (followers.length > 0 && !force) {
      throw new JnbdError(
        'group_not_empty',
        `group ${name} is followed by ${followers.join(', ')}; unfollow it there first, or add --force`,
      );
    }
    this.#claim(name);
    try {
      for (const watcher of this.watchers) watcher.groupClosing(group);
      await group.close();
      this.groups.delete(name);
      this.#left.add(name);
      return this.#removeLeft(name);
    } finally {
      this.#busy.delete(name);
    }
  }

  /** False: nothing was left. */
  #removeLeft(name: string): boolean {
    if (!this.#left.has(name)) return false;
    removeGroupFiles(this.#deps.disk, this.#files(name));
    this.#left.delete(name);
    return true;
  }

  /**
   * Closes the group, begins its journal anew as planned, and opens it again; hosts and followers are
   * disconnected. Rejects where that cannot be planned (write_failed, disk_full, state_refuses, group_state), and then
   * nothing has changed. Once planned it is done, if need be by the next start.
   */
  async restartGroup(group: Group, plan: RestartPlan): Promise<Group> {
    const { name } = group;
    // Whoever planned it may have waited while this one was deleted, and another one made.
    if (this.groups.get(name) !== group) throw closedGroup(this.#files(name).restart);
    this.#claim(name);
    try {
      const keeping = keepClones(group, plan, this.#files(name).restart);
      if (keeping) await keeping;
      planRestart(this.#deps.disk, this.#files(name), plan);
      const restarting = { groupId: group.catalog.groupId, opened: Promise.resolve<unknown>(0) };
      this.#restarting.set(name, restarting);
      const opened = this.#closeAndOpen(group);
      restarting.opened = opened;
      return await opened;
    } finally {
      this.#restarting.delete(name);
      this.#busy.delete(name);
    }
  }

  /** It is closed, and opened again. */
  isRestarting(name: string): boolean {
    return this.#restarting.has(name);
  }

  async #closeAndOpen(group: Group): Promise<Group> {
    const { name } = group;
    const { clock, event } = this.#deps;
    for (const watcher of this.watchers) watcher.groupClosing(group);
    await group.close();
    this.groups.delete(name);
    while (!this.#isClosing) {
      try {
        const opened = await openGroup(this.#deps, this.#groupLimits(), this.#files(name));
        this.groups.set(name, opened);
        for (const watcher of this.watchers) watcher.groupOpened(opened);
        return opened;
      } catch (error) {
        const told = refusedBySystem(error, 'read_failed', `cannot open group ${name}`) ?? error;
        if (!(told instanceof JnbdError)) throw error;
        const text = `${told.message}; it is tried again every ${openAgainMilliseconds / 1000} seconds`;
        event('group_not_opened', text, { group: name });
        await new Promise<void>((resolve) => clock.after(openAgainMilliseconds, resolve));
      }
    }
    throw new JnbdError('shutting_down', `system ${this.name} is being stopped`);
  }

  /** Closes every group: what is owed is synced. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.allSettled([...this.#restarting.values()].map(({ opened }) => opened));
    await Promise.all([...this.groups.values()].map((group) => group.close()));
    this.#lock.release();
  }

  filesOf(group: Group): GroupFiles {
    return this.#files(group.name);
  }

  #claim(name: string): void {
    if (this.#busy.has(name)) {
      throw new JnbdError(
        'state_refuses',
        `group ${name} is being created or deleted; try again when that is done`,
      );
    }
    this.#busy.add(name);
  }

  #files(name: string): GroupFiles {
    return new GroupFiles(`${this.directory}/groups`, name);
  }

  #groupLimits(): GroupLimits {
    const { memory, pool } = this;
    const count = this.groups.size + 1;
    return groupLimits(memory, pool.bytesMax, count, this.#checksumPointMilliseconds);
  }

  #newCatalog(
    name: string,
    capacityBytes: number,
    settings: GroupSettings,
    paths: readonly string[],
  ): Catalog {
    const { random } = this.#deps;
    const directories = paths.length > 0 ? paths : [ownJournalDirectory];
    const areaId = (): string => Buffer.from(random.bytes(8)).toString('hex');
    return {
      formatVersion: 1,
      groupId: Buffer.from(random.bytes(16)).toString('hex'),
      name,
      lineage: [],
      number: 0,
      nextVolumeId: 1,
      volumes: [],
      areas: [
        ...directories.map((path) => ({ areaId: areaId(), path })),
        { areaId: areaId(), path: emergencyDirectory, role: 'emergency' },
      ],
      areaLayout: settings.areaLayout ?? 'striped',
      journalCapacityBytes: capacityBytes,
      onFull: settings.onFull ?? 'suspend',
      syncIntervalMilliseconds:
        settings.syncIntervalMilliseconds ?? syncIntervalMillisecondsDefault,
    };
  }

  async #openGroups(): Promise<void> {
    const { disk } = this.#deps;
    const directory = `${this.directory}/groups`;
    disk.makeDirectorySync(directory);
    for (const name of disk.listSync(directory)) {
      const files = this.#files(name);
      if (!disk.isDirectorySync(files.directory)) continue;
      try {
        if (isUnfinished(disk, files)) removeGroupFiles(disk, files);
        else this.groups.set(name, await openGroup(this.#deps, this.#groupLimits(), files));
      } catch (error) {
        throw refusedBySystem(error, 'read_failed', `cannot open group ${name}`) ?? error;
      }
    }
  }
}

function opening(name: string): JnbdError {
  return new JnbdError('group_opening', `the journal of group ${name} begins anew; try again`);
}
