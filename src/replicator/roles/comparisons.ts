import type { CatalogVolume } from '../../group/catalog/catalog.ts';
import type { Group } from '../../group/order/group.ts';
import { agreesAt, positionOf } from '../../group/catalog/lineage.ts';
import { withoutContents } from '../../group/catalog/follow-file.ts';
import { beginResync, settle } from '../../group/roles/resync.ts';
import { writeRegions } from '../../group/catalog/resync-files.ts';
import { seedVolume } from '../../group/volumes/seed-volume.ts';
import type { System } from '../../group/system/system.ts';
import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import { clearFollowConditions, raiseFollowCondition } from '../follower/follow-conditions.ts';
import { type Comparison, compareVolumes } from './volume-comparison.ts';
import { closeSeeds, type Seed } from './new-secondary.ts';
import { register, registrationOf } from '../peers/registration.ts';
import type { TransportClient } from '../transport/transport.ts';
import type { Caller } from '../protocol/wire.ts';

export interface ComparisonsDependencies {
  readonly system: System;
  readonly clock: Clock;
  readonly caller: Caller;
  readonly listenPort: () => number;
  readonly connect: (url: string) => TransportClient;
  /** The group's contents are known now, or it is to be tried again: it follows as its file says. */
  readonly startFollower: (group: Group) => void;
  readonly stopFollower: (group: Group) => void;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const retryMilliseconds = 30_000;

interface Job {
  isCancelled: boolean;
  comparedBytes: number;
  failure: JnbdError | undefined;
  retry: Timer | undefined;
}

/** What status tells of a comparison. */
export interface ComparisonState {
  readonly comparedBytes: number;
  /** It is begun again after a while. */
  readonly failure: JnbdError | undefined;
}

/**
 * Finds out by hashes what groups of this system have and their sources have otherwise, where nothing
 * else tells: of a follower that was away for longer than its source remembers, and of volumes that begin
 * with an image. What differs is then brought as in any resync. Meanwhile the group receives nothing; its
 * source keeps what comes behind the registration.
 */
export class Comparisons {
  readonly #deps: ComparisonsDependencies;
  readonly #jobs = new Map<Group, Job>();

  constructor(deps: ComparisonsDependencies) {
    this.#deps = deps;
  }

  find(group: Group): ComparisonState | undefined {
    return this.#jobs.get(group);
  }

  /**
   * A follower whose source has released what comes next: its history is the source's (SAFETY 21). With `found`, which
   * a verification knows, nothing is compared, and that is brought.
   */
  begin(group: Group, found?: Comparison): void {
    this.#deps.stopFollower(group);
    this.#run(group, (client, job) => this.#compareAll(group, client, job, found));
  }

  /** A group that was just made, its volumes empty. */
  beginSeeded(group: Group, seeds: readonly Seed[]): void {
    this.#run(group, async (client, job) => {
      try {
        await this.#compareSeeds(group, seeds, client, job);
      } finally {
        await closeSeeds(seeds);
      }
    });
  }

  cancel(group: Group): void {
    const job = this.#jobs.get(group);
    if (!job) return;
    job.isCancelled = true;
    job.retry?.cancel();
    this.#jobs.delete(group);
    if (job.failure) clearFollowConditions(group, 'closed');
  }

  close(): void {
    for (const group of this.#jobs.keys()) this.cancel(group);
  }

  #run(group: Group, run: (client: TransportClient, job: Job) => Promise<void>): void {
    this.cancel(group);
    const job: Job = { isCancelled: false, comparedBytes: 0, failure: undefined, retry: undefined };
    this.#jobs.set(group, job);
    const { url } = must(group.follow.state, 'a group that is compared follows');
    const client = this.#deps.connect(url);
    run(client, job)
      .catch((error: unknown) => {
        if (!(error instanceof JnbdError)) throw error;
        if (!job.isCancelled) this.#failed(group, job, error);
      })
      .finally(() => client.close())
      .catch((error: unknown) => {
        throw error;
      });
  }

  #failed(group: Group, job: Job, error: JnbdError): void {
    job.failure = error;
    raiseFollowCondition(group, false, error);
    this.#tell(
      'comparison_failed',
      group,
      `group ${group.name} was not compared: ${error.message}`,
    );
    job.retry = this.#deps.clock.after(retryMilliseconds, () => this.#end(group, job, group));
  }

  /** From here on the follower goes on, or finds once more that it cannot. */
  #end(group: Group, job: Job, opened: Group): void {
    if (this.#jobs.get(group) === job) this.#jobs.delete(group);
    if (opened.follow.state) this.#deps.startFollower(opened);
  }

  async #compareAll(
    group: Group,
    client: TransportClient,
    job: Job,
    known?: Comparison,
  ): Promise<void> {
    const { system, caller, listenPort } = this.#deps;
    const state = must(group.follow.state, 'a group that is compared follows');
    const told = await register(client, caller, state.sourceGroup, {
      ...registrationOf(group, listenPort()),
      position: null,
      compare: true,
    });
    const { catalog, watermarks, name } = group;
    if (!agreesAt(told.lineage, positionOf(catalog.lineage, watermarks.newest))) {
      throw new JnbdError('diverged', `group ${name} has another history than at ${told.name}`);
    }
    if (!known)
      this.#tell('comparison_begun', group, `group ${name} is compared with system ${told.name}`);
    await settle(group);
    const found = known ?? (await this.#compare(group, told.catalog.volumes, client, job));
    const follow = withoutContents(state);
    const opened = await beginResync(system, group, {
      through: told.from,
      lineage: told.lineage,
      catalog: told.catalog,
      regions: found.regions,
      compared: found.contents,
      follow,
      isWanted: () => !job.isCancelled,
    });
    this.#tellFound(opened, found);
    this.#end(group, job, opened);
  }

  /** Volumes without an image are wanted as a whole. */
  async #compareSeeds(
    group: Group,
    seeds: readonly Seed[],
    client: TransportClient,
    job: Job,
  ): Promise<void> {
    const isWanted = (): boolean => !job.isCancelled;
    const seeded: CatalogVolume[] = [];
    for (const { volume: name, image } of seeds) {
      const volume = must(group.volumes.get(name), 'the source has this volume');
      this.#tell('seeding', group, `volume ${group.name}/${name} begins with ${image.name}`);
      await seedVolume(volume, image, isWanted);
      seeded.push(volume.catalog);
    }
    const found = await this.#compare(group, seeded, client, job);
    if (job.isCancelled) return;
    const { catalog, follow } = group;
    for (const { id, sizeBytes, journalOnly } of catalog.volumes) {
      const isSeeded = seeded.some((volume) => volume.id === id);
      if (!isSeeded && !journalOnly) found.regions.add(id, 0, sizeBytes);
    }
    const state = must(follow.state, 'a group that is compared follows');
    const { system } = this.#deps;
    // Without the second file all contents are still to be copied.
    writeRegions(system.disk, system.filesOf(group), found.regions);
    follow.write({
      ...state,
      copies: [],
      ...found.contents,
      shows: Math.max(state.shows, found.contents.shows),
      resync: { consistentAt: null, through: group.watermarks.newest },
    });
    this.#tellFound(group, found);
    this.#end(group, job, group);
  }

  #compare(
    group: Group,
    volumes: readonly CatalogVolume[],
    client: TransportClient,
    job: Job,
  ): Promise<Comparison> {
    const { caller, clock } = this.#deps;
    return compareVolumes(group, volumes, {
      client,
      caller,
      clock,
      isWanted: () => !job.isCancelled,
      compared: (bytes) => {
        job.comparedBytes += bytes;
      },
    });
  }

  #tellFound(group: Group, { regions }: Comparison): void {
    const text = `${formatSize(regions.bytes)} in ${regions.count} regions are to come`;
    this.#tell('comparison_done', group, `group ${group.name} was compared: ${text}`);
  }

  #tell(code: string, group: Group, message: string): void {
    this.#deps.event(code, message, { group: group.name });
  }
}
