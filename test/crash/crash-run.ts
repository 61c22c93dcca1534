import { renameSync } from 'node:fs';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { sleep } from '../support/children.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { CrashTestFailure } from './findings.ts';
import { sectorBytes } from './update-contents.ts';
import { CrashingSystem, type DeathReport, type SystemSettings } from './crashing-system.ts';

/**
 * What happens to a daemon that serves: `writing`: killed under load. `idle`: killed without a write
 * since its start. `applied`: killed when all was in the volumes. `resizing`, `changing`: killed while a
 * volume grows, or one is made or deleted. `stopping`: killed while it answers SIGTERM. `paused`:
 * stopped by SIGSTOP under load, and killed then or some time after it went on.
 */
export const ends = [
  'writing',
  'idle',
  'applied',
  'resizing',
  'changing',
  'stopping',
  'paused',
] as const;
export type End = (typeof ends)[number];

const weights: Readonly<Record<End, number>> = {
  writing: 6,
  idle: 1,
  applied: 2,
  resizing: 3,
  changing: 2,
  stopping: 3,
  paused: 3,
};
const drawn = ends.flatMap((end) => Array<End>(weights[end]).fill(end));

const killsPerDirectory = 25;
const volumeBytesMax = 24 * MiB;
/** A volume that comes and goes. */
const extraName = 'extra';
const programCheckEvery = 16;

export interface CrashRunOptions {
  readonly kills: number;
  readonly seed: number;
  /** Of each data directory; another one is begun then. */
  readonly killsPerDirectory?: number;
  readonly keepFailed?: boolean;
  readonly log?: (text: string) => void;
}

/** What was done, and what it met: a zero says that something was never tried. */
export interface CrashRunReport {
  kills: number;
  /** Kills by what they met; `starting`: a daemon that did not serve yet. */
  readonly ends: Record<End | 'starting', number>;
  /** SIGTERM was faster than the kill. */
  cleanStops: number;
  directories: number;
  acknowledged: number;
  updates: number;
  bytes: number;
  /** Of what was not answered: wholly in the journal, cut, and not there. */
  unansweredKept: number;
  unansweredCut: number;
  unansweredLost: number;
  /** Deaths that left updates that were not in their volumes, and the most of them. */
  unappliedDeaths: number;
  unappliedMax: number;
  tornTails: number;
  rolls: number;
  beginnings: number;
  checkpoints: number;
}

function emptyReport(): CrashRunReport {
  return {
    kills: 0,
    ends: Object.fromEntries(
      [...ends, 'starting'].map((end) => [end, 0]),
    ) as CrashRunReport['ends'],
    cleanStops: 0,
    directories: 0,
    acknowledged: 0,
    updates: 0,
    bytes: 0,
    unansweredKept: 0,
    unansweredCut: 0,
    unansweredLost: 0,
    unappliedDeaths: 0,
    unappliedMax: 0,
    tornTails: 0,
    rolls: 0,
    beginnings: 0,
    checkpoints: 0,
  };
}

/** The first two are as different as can be; after that chance decides. */
function drawSettings(random: FuzzRandom, turn: number): SystemSettings {
  const group = (name: string, areas: number, volumesBytes: Record<string, number>) => ({
    name,
    areas,
    volumesBytes,
    onFull: random.pick(['suspend', 'throttle', 'fail'] as const),
    syncInterval: random.pick(['20ms', '20ms', '1ms', '500ms']),
  });
  const isTwo = turn % 2 === 1;
  const areas = turn < 2 ? turn + 1 : 1 + random.below(2);
  return {
    memory: random.pick(['64MiB', '192MiB']),
    groups: [
      group('main', areas, { data: 16 * MiB, log: 4 * MiB + 512 }),
      ...(isTwo ? [group('side', 1 + random.below(2), { a: 4 * MiB, b: 8 * MiB })] : []),
    ],
  };
}

/** Data directory after data directory, until there were so many kills. */
export class CrashRun {
  readonly #options: CrashRunOptions;
  readonly #random: FuzzRandom;
  readonly #log: (text: string) => void;
  readonly report = emptyReport();
  /** Changes of volumes that were answered in this life. */
  #promised: { readonly what: string; readonly holds: () => boolean }[] = [];
  #deaths: readonly DeathReport[] = [];
  /** Where the files of a run that failed are, if they are to stay. */
  failedDirectory: string | undefined;

  constructor(options: CrashRunOptions) {
    this.#options = options;
    this.#random = new FuzzRandom(options.seed);
    this.#log = options.log ?? (() => undefined);
  }

  /** Throws CrashTestFailure and whatever else goes wrong. */
  async run(): Promise<CrashRunReport> {
    for (let turn = 0; this.report.kills < this.#options.kills; turn += 1) {
      const directory = temporaryDirectory('crash');
      const settings = drawSettings(this.#random, turn);
      const system = await CrashingSystem.create(directory.path, settings, this.#random.uint32());
      this.report.directories += 1;
      this.#log(`directory ${turn + 1}: ${JSON.stringify(settings)}`);
      try {
        await this.#runDirectory(system);
      } catch (error) {
        this.failedDirectory = `${directory.path}-failed`;
        this.#log(`the daemon's last words:\n${system.output.slice(-4000)}`);
        await system.close();
        // Out of the way of whoever tidies up at the end.
        if (this.#options.keepFailed) renameSync(directory.path, this.failedDirectory);
        else directory.remove();
        throw error;
      }
      await system.close();
      for (const { follower } of system.groups) {
        this.report.rolls += follower.rolls;
        this.report.beginnings += follower.beginnings;
      }
      for (const { checkpoints } of this.#deaths) this.report.checkpoints += checkpoints;
      this.report.acknowledged += system.acknowledged;
      directory.remove();
    }
    return this.report;
  }

  async #runDirectory(system: CrashingSystem): Promise<void> {
    const { report } = this;
    const perDirectory = this.#options.killsPerDirectory ?? killsPerDirectory;
    const until = Math.min(this.#options.kills, report.kills + perDirectory);
    await system.verify();
    while (report.kills < until) {
      const end = this.#random.pick(drawn);
      const killed = await this.#live(system, end);
      if (killed) {
        report.kills += 1;
        report.ends[end] += 1;
      } else {
        report.cleanStops += 1;
      }
      this.#settle(system, killed ? end : 'clean stop');
      if (report.kills % programCheckEvery === 0) await system.checkByProgram();
      while (report.kills < until && this.#random.chance(4)) await this.#killStart(system);
      await system.start();
      await system.verify();
    }
  }

  async #killStart(system: CrashingSystem): Promise<void> {
    const share = 0.4 + this.#random.below(70) / 100;
    await system.startAndKill(system.startMilliseconds * share);
    this.report.kills += 1;
    this.report.ends.starting += 1;
    this.#settle(system, 'starting');
  }

  #settle(system: CrashingSystem, end: string): void {
    const { report } = this;
    this.#deaths = system.settle();
    const broken = this.#promised.filter(({ holds }) => !holds());
    this.#promised = [];
    if (broken.length > 0) {
      const what = 'an acknowledged change is not in the journal';
      throw new CrashTestFailure(broken.map((each) => ({ what, subject: each.what })));
    }
    for (const death of this.#deaths) {
      report.updates += death.updates;
      report.bytes += death.bytes;
      report.unansweredKept += death.unansweredKept;
      report.unansweredCut += death.unansweredCut;
      report.unansweredLost += death.unansweredLost;
      if (death.unapplied > 0) report.unappliedDeaths += 1;
      report.unappliedMax = Math.max(report.unappliedMax, death.unapplied);
      if (death.hasTornTail) report.tornTails += 1;
      this.#log(this.#line(end, death));
    }
  }

  #line(end: string, death: DeathReport): string {
    const { group, updates, bytes, unansweredKept, unansweredCut, unansweredLost } = death;
    const unanswered = [unansweredKept, unansweredCut, unansweredLost].join('/');
    return (
      `kill ${this.report.kills} ${end} ${group}: ${updates} updates, ${(bytes / MiB).toFixed(1)} MiB, ` +
      `${unanswered} unanswered kept/cut/lost, ${death.unapplied} unapplied${death.hasTornTail ? ', torn' : ''}`
    );
  }

  /** From serving to dead. False: it ended by itself, as it was asked to. */
  async #live(system: CrashingSystem, end: End): Promise<boolean> {
    const random = this.#random;
    if (end === 'idle') {
      await sleep(random.below(60));
      await system.kill();
      return true;
    }
    // A volume that is to be deleted has no clients.
    await system.load({
      isLoaded: (volume) => end !== 'changing' || volume.name !== extraName,
    });
    await sleep(random.below(random.pick([100, 600, 1200])));
    switch (end) {
      case 'writing':
        break;
      case 'applied':
        await this.#letApply(system);
        break;
      case 'resizing':
        return this.#resize(system);
      case 'changing':
        return this.#createOrDelete(system);
      case 'stopping':
        system.expectEnd();
        system.signal('SIGTERM');
        await sleep(random.below(120));
        if (!system.hasExited) break;
        await system.endLoad();
        return false;
      case 'paused':
        system.signal('SIGSTOP');
        await sleep(random.below(200));
        if (random.chance(3)) break;
        system.signal('SIGCONT');
        await sleep(random.below(100));
    }
    await system.kill();
    return true;
  }

  /** All is in the volumes, or nearly: the load has ended and apply has had its time. */
  async #letApply(system: CrashingSystem): Promise<void> {
    await system.endLoad();
    for (let turns = this.#random.below(30); turns > 0; turns -= 1) {
      if ((await system.unapplied()) === 0) return;
      await sleep(10);
    }
  }

  #resize(system: CrashingSystem): Promise<boolean> {
    const group = this.#random.pick(system.groups);
    const volume = this.#random.pick([...group.volumes.values()]);
    const wanted = volume.sizeBytes + sectorBytes * (1 + this.#random.below(2048));
    const sizeBytes = Math.max(volume.sizeBytes, Math.min(volumeBytesMax, wanted));
    return this.#change(
      system,
      system.resizeVolume(`${group.name}/${volume.name}`, sizeBytes),
      `the resize of ${group.name}/${volume.name} to ${sizeBytes}`,
      () => volume.sizeBytes >= sizeBytes,
    );
  }

  #createOrDelete(system: CrashingSystem): Promise<boolean> {
    const group = this.#random.pick(system.groups);
    const path = `${group.name}/${extraName}`;
    const isThere = group.volumes.has(extraName);
    return this.#change(
      system,
      isThere ? system.deleteVolume(path) : system.createVolume(path, 64 * KiB),
      isThere ? `that ${path} is deleted` : `that ${path} is made`,
      () => group.volumes.has(extraName) !== isThere,
    );
  }

  /** Kills before a change of a volume is answered, or soon after: what was answered has to hold. */
  async #change(
    system: CrashingSystem,
    asked: Promise<void>,
    what: string,
    holds: () => boolean,
  ): Promise<boolean> {
    let isAnswered = false;
    const answer = asked
      .then(
        () => 'done' as const,
        (error: unknown) => error,
      )
      .finally(() => (isAnswered = true));
    // As often as not right behind its record, when the catalog does not have it yet.
    const waitsForRecord = this.#random.chance(2);
    while (waitsForRecord && !isAnswered && !holds()) {
      await sleep(0);
      system.poll();
    }
    const pause = waitsForRecord ? this.#random.pick([0, 0, 1, 3]) : this.#random.below(25);
    if (pause > 0) await sleep(pause);
    await system.kill();
    const answered = await answer;
    if (answered === 'done') this.#promised.push({ what, holds });
    else if (!(answered instanceof JnbdError && answered.code === 'daemon_unreachable')) {
      throw new Error(`${what} was refused`, { cause: answered });
    }
    return true;
  }
}
