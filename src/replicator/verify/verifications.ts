import type { Group } from '../../group/order/group.ts';
import { type Damage, findDamages } from '../../group/system/own-damages.ts';
import type { System } from '../../group/system/system.ts';
import { isIncomplete } from '../../group/volumes/missing-contents.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import type { RegionSet } from '../../volume/region-set.ts';
import type { JsonAnswer } from '../protocol/wire-json.ts';
import type {
  ClientCredentials,
  IncomingRequest,
  Transport,
  TransportClient,
} from '../transport/transport.ts';
import {
  type LastVerified,
  readVerified,
  writeVerified,
} from '../../group/system/verified-file.ts';
import { VerificationSnapshots } from './verification-snapshots.ts';
import { VerifyJob, verifiedSystem, viewsOf } from './verify-job.ts';
import { regionsToBring, repairPrimary } from './verify-repair.ts';
import { type PeerPlace, VerifyPeer } from './verify-peer.ts';
import { placesToCompare, sourcePlace } from './verify-places.ts';
import { VerifyRequests } from './verify-requests.ts';
import { CopyTurns } from '../../group/volumes/copy-turns.ts';
import type { Verification, VerifiedSystem, VerifyWish } from '../../group/system/verification.ts';
import { compareViews, PeerComparison } from './view-comparison.ts';

export interface VerificationsDependencies {
  readonly system: System;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly credentials: ClientCredentials | undefined;
  /** Whether systems that showed no certificate may follow (`--insecure`). */
  readonly isOpenToAll: boolean;
  /** A follower brings these parts of its files from its source. */
  readonly bring: (group: Group, regions: RegionSet, shows: number) => void;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const windowBytes = 1024 * 1024;
/** Much more often than it has to be, so that an attempt or two may fail. */
const renewMilliseconds = 5000;
const failuresMax = 5;

/**
 * Finds out whether systems have the same, and whether what they have is what was written, while they go on:
 * volumes are compared as a snapshot has them that is made for it, which is at one position everywhere.
 */
export class Verifications {
  readonly #deps: VerificationsDependencies;
  readonly #snapshots: VerificationSnapshots;
  readonly #turns: CopyTurns;
  readonly #requests: VerifyRequests;
  /** By the id of the group. */
  readonly #jobs = new Map<string, VerifyJob>();
  /** By the id of the group; null: there was none. */
  readonly #last = new Map<string, LastVerified | null>();

  constructor(deps: VerificationsDependencies) {
    const { system, clock, isOpenToAll } = deps;
    this.#deps = deps;
    this.#snapshots = new VerificationSnapshots(system, clock);
    this.#turns = new CopyTurns(clock);
    const source = (group: Group): VerifyPeer => this.#peer(group, sourcePlace(group), () => true);
    const { snapshots, turns } = { snapshots: this.#snapshots, turns: this.#turns };
    this.#requests = new VerifyRequests({ system, snapshots, turns, isOpenToAll, source });
  }

  close(): void {
    this.#snapshots.close();
  }

  /** Undefined: it is about something else. */
  answer(incoming: IncomingRequest): Promise<JsonAnswer> | undefined {
    return this.#requests.answer(incoming);
  }

  /** Undefined: none is under way. */
  progress({
    catalog,
  }: Group): { readonly comparedBytes: number; readonly totalBytes: number } | undefined {
    return this.#jobs.get(catalog.groupId);
  }

  /** Undefined: there was none. */
  last(group: Group): LastVerified | undefined {
    const { system } = this.#deps;
    const { groupId } = group.catalog;
    let known = this.#last.get(groupId);
    if (known === undefined) {
      known = readVerified(system.disk, system.filesOf(group).verified) ?? null;
      this.#last.set(groupId, known);
    }
    return known ?? undefined;
  }

  /** Rejects with JnbdError where nothing was found out. */
  async verify(wish: VerifyWish): Promise<Verification> {
    const group = this.#deps.system.group(wish.group);
    const { groupId } = group.catalog;
    if (this.#jobs.has(groupId)) {
      const text = `group ${group.name} is being verified by another command already`;
      throw new JnbdError('state_refuses', text);
    }
    const job = new VerifyJob(group, wish);
    this.#jobs.set(groupId, job);
    try {
      const verification = await this.#run(job);
      this.#remember(group, verification);
      return verification;
    } finally {
      this.#jobs.delete(groupId);
    }
  }

  async #run(job: VerifyJob): Promise<Verification> {
    const { group, wish } = job;
    if (isIncomplete(group)) {
      const text = `the contents of group ${group.name} are not complete here; verify it when they are`;
      throw new JnbdError('state_refuses', text);
    }
    const { places, failed } = placesToCompare(group, wish.repairFrom);
    const comparisons = places.map(
      (place) => new PeerComparison(this.#peer(group, place, () => job.isWanted)),
    );
    try {
      const { damages, skipped, left } = await this.#checkAll(job, comparisons);
      const compared = await this.#compare(job, left);
      const systems = [...compared.systems, ...skipped, ...failed];
      return { ...compared, group: group.name, systems, damages };
    } finally {
      for (const { peer } of comparisons) peer.close();
    }
  }

  /** What is damaged beside volumes, everywhere; and who is not to be compared. */
  async #checkAll(
    job: VerifyJob,
    comparisons: readonly PeerComparison[],
  ): Promise<{
    readonly damages: Verification['damages'];
    readonly skipped: readonly VerifiedSystem[];
    readonly left: readonly PeerComparison[];
  }> {
    const { system } = this.#deps;
    const { group } = job;
    const skipped = new Map<PeerComparison, VerifiedSystem>();
    const there = comparisons.map(async (comparison) => {
      const { name } = comparison.peer;
      try {
        const { damages, journalOnly, obstacle } = await comparison.peer.checks();
        if (obstacle !== '') comparison.failure = new JnbdError('group_state', obstacle);
        const reason = 'it keeps the journal alone';
        const nothing = { differingBytes: 0, differences: [] };
        if (journalOnly) skipped.set(comparison, { name, result: 'skipped', reason, ...nothing });
        return named(name, damages);
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        comparison.failure = error;
        return [];
      }
    });
    const own = findDamages(
      system.disk,
      system.filesOf(group),
      group,
      `${system.directory}/cuts`,
      (bytes) => this.#turns.take(group, bytes),
    ).then((damages) => named(system.name, damages));
    const damages = (await Promise.all([own, ...there])).flat();
    job.checkWanted();
    const left = comparisons.filter((each) => !skipped.has(each));
    return { damages, skipped: [...skipped.values()], left };
  }

  async #compare(
    job: VerifyJob,
    comparisons: readonly PeerComparison[],
  ): Promise<Pick<Verification, 'number' | 'comparedBytes' | 'systems' | 'repair'>> {
    const { group, wish } = job;
    const isWorthIt = comparisons.some(({ failure }) => !failure);
    if (!isWorthIt || (group.catalog.journalOnly ?? false)) {
      const systems = comparisons.map((each) => verifiedSystem(group, each));
      return { number: null, comparedBytes: 0, systems, repair: null };
    }
    const deadline = group.clock.monotonicMilliseconds() + wish.timeoutMilliseconds;
    const { number, end } = await this.#begin(job, comparisons);
    try {
      const snapshot = await job.untilHere(number, deadline);
      await Promise.all(
        comparisons
          .filter(({ failure }) => !failure)
          .map((each) => job.untilThere(each, snapshot, deadline)),
      );
      const views = viewsOf(group, snapshot, wish.withSnapshots);
      job.totalBytes = views.reduce((sum, { dataBytes }) => sum + dataBytes, 0);
      await compareViews(group, views, comparisons, {
        turn: (bytes) => this.#turns.take(group, bytes),
        checkWanted: () => job.checkWanted(),
        compared: (bytes) => job.compared(bytes),
      });
      // Names of snapshots are known while they are there.
      const systems = comparisons.map((each) => verifiedSystem(group, each));
      const repair = await this.#repair(job, number, comparisons[0]);
      return { number, comparedBytes: job.comparedBytes, systems, repair };
    } finally {
      await end();
      group.snapshots.sessionClosed();
    }
  }

  /** From the only system that was compared with. */
  async #repair(
    job: VerifyJob,
    number: number,
    right: PeerComparison | undefined,
  ): Promise<Verification['repair']> {
    const { group, wish } = job;
    if (wish.repairFrom === undefined || !right || right.differingBytes === 0) return null;
    const from = wish.repairFrom;
    if (group.role === 'primary') {
      const checkWanted = (): void => job.checkWanted();
      return { from, ...(await repairPrimary(group, number, right, checkWanted)) };
    }
    const regions = regionsToBring(group, right);
    this.#deps.bring(group, regions, number);
    return { from, bytes: regions.bytes, leftBytes: 0 };
  }

  /** The primary makes the snapshot: this system, or its source, which asks its own where it has one. */
  async #begin(
    job: VerifyJob,
    comparisons: readonly PeerComparison[],
  ): Promise<{ readonly number: number; readonly end: () => Promise<void> }> {
    const { group } = job;
    const { clock } = this.#deps;
    const isPrimary = group.role === 'primary';
    const [first] = comparisons;
    if (!isPrimary && !first) {
      throw new JnbdError('state_refuses', `group ${group.name} follows nobody here`);
    }
    const { number } = isPrimary
      ? await this.#snapshots.begin(group)
      : { number: (await first?.peer.begin()) ?? 0 };
    let isOver = false;
    let failures = 0;
    const renew = async (): Promise<void> => {
      if (isOver) return;
      try {
        if (isPrimary) this.#snapshots.renew(group, number);
        else await first?.peer.renew(number);
        failures = 0;
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        failures += 1;
        // Once it has not heard this system for so long the snapshot is gone.
        if (error.kind !== 'retryable' || failures > failuresMax) job.failure ??= error;
      }
      clock.after(renewMilliseconds, () => void renew());
    };
    clock.after(renewMilliseconds, () => void renew());
    const end = async (): Promise<void> => {
      isOver = true;
      try {
        if (isPrimary) await this.#snapshots.end(group, number);
        else await first?.peer.end(number);
      } catch (error) {
        // Whoever made it takes it away once nobody renews it.
        if (!(error instanceof JnbdError)) throw error;
      }
    };
    return { number, end };
  }

  #remember(group: Group, { number, systems, damages }: Verification): void {
    const { system, event } = this.#deps;
    const { name, conditions, clock } = group;
    const isDifferent = systems.some(({ result }) => result === 'different');
    const isFailed = systems.some(({ result }) => result === 'failed');
    const isDamaged = damages.length > 0;
    const differingBytes = systems.reduce((sum, each) => sum + each.differingBytes, 0);
    const verified: LastVerified = {
      formatVersion: 1,
      atMilliseconds: clock.wallMilliseconds(),
      number,
      result: isDifferent ? 'different' : isDamaged ? 'damaged' : isFailed ? 'failed' : 'same',
      systems: systems.filter(({ result }) => result !== 'skipped').map((each) => each.name),
      differingBytes,
      damages: damages.length,
    };
    writeVerified(system.disk, system.filesOf(group).verified, verified);
    this.#last.set(group.catalog.groupId, verified);
    const others = verified.systems.join(', ');
    if (isDifferent) {
      conditions.raise(name, {
        code: 'identity_broken',
        severity: 'error',
        message: `group ${name} differs by ${formatSize(differingBytes)} between systems as of update ${number ?? 0} (${others})`,
        nextCommand: `jnbd verify ${name} --repair-from SYSTEM, which names the one that is right`,
      });
    } else if (!isFailed && number !== null) {
      conditions.clear(name, 'identity_broken', `group ${name} is the same on ${others} again`);
    }
    if (isDamaged) {
      const [first] = damages;
      conditions.raise(name, {
        code: 'damage_found',
        severity: 'error',
        message: `${damages.length} damages were found in files of group ${name}, the first at ${first?.place ?? ''} of ${first?.file ?? ''} on system ${first?.system ?? ''}`,
        nextCommand: `jnbd verify ${name}`,
      });
    } else {
      conditions.clear(name, 'damage_found', `files of group ${name} are whole again`);
    }
    const what = verified.systems.length > 0 ? `with ${others}` : 'by itself';
    event('verified', `group ${name} was compared ${what}: ${verified.result}`, { group: name });
  }

  #peer(group: Group, place: PeerPlace, isWanted: () => boolean): VerifyPeer {
    const { clock, system } = this.#deps;
    const caller = { systemId: system.systemId, name: system.name };
    const connect = (url: string): TransportClient => this.#connect(url);
    return new VerifyPeer(group.catalog.groupId, place, { clock, caller, connect, isWanted });
  }

  #connect(url: string): TransportClient {
    const { transport, credentials } = this.#deps;
    const trust = credentials ? { credentials } : {};
    return transport.connect({ url, connections: 1, windowBytes, ...trust });
  }
}

function named(system: string, damages: readonly Damage[]): Verification['damages'] {
  return damages.map((damage) => ({ system, ...damage }));
}
