import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ControlClient } from '../../src/control/client.ts';
import { GroupFiles } from '../../src/group/catalog/group-files.ts';
import { checkJournal } from '../../src/journal/inspect.ts';
import type { GroupReport } from '../../src/journal/inspect-report.ts';
import { offlineDisk } from '../../src/journal/offline-disk.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { messageOf } from '../../src/platform/errors.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { jnbd } from '../support/built-program.ts';
import { sleep } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { CrashLoad, type LoadSettings, type LoadSources } from './crash-load.ts';
import { CrashTestFailure, type Finding } from './findings.ts';
import { GroupLedger, type LifeCounts } from './group-ledger.ts';
import { UpdateContents } from './update-contents.ts';
import { compareVolume } from './volume-comparison.ts';
import type { VolumeModel } from './volume-model.ts';

/** The smallest that a journal may be: four segments, which are used again and again. */
const journalSize = '64MiB';
/** Somebody else may take a free port before the daemon does. */
const startsMax = 5;
const socketPathBytesMax = 100;

export interface GroupSettings {
  readonly name: string;
  readonly onFull: 'suspend' | 'throttle' | 'fail';
  readonly syncInterval: string;
  /** Above 1: striped over so many directories. */
  readonly areas: number;
  /** By name. */
  readonly volumesBytes: Readonly<Record<string, number>>;
}

export interface SystemSettings {
  readonly groups: readonly GroupSettings[];
  readonly memory: string;
}

/** How far a group was when the daemon died. */
export interface DeathReport extends LifeCounts {
  readonly group: string;
  readonly unapplied: number;
  /** The last checkpoint: what is in it is not applied again. */
  readonly checkpointed: number;
  readonly checkpoints: number;
  readonly hasTornTail: boolean;
}

/**
 * A data directory whose daemon, the built program, is killed and started again, and all that is known
 * of what it has to hold. A life: `start`, `verify`, `load`, one of the ends, `settle`.
 */
export class CrashingSystem {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly groups: GroupLedger[] = [];
  readonly #sources: LoadSources;
  readonly #memory: string;
  readonly #control: ControlClient;
  #daemon: Daemon | undefined;
  #load: CrashLoad | undefined;
  #nextKey = 1;
  /** How long the last start took. */
  startMilliseconds = 500;
  acknowledged = 0;

  private constructor(directory: string, memory: string, seed: number) {
    this.directory = directory;
    this.dataDirectory = join(directory, 'data');
    this.#memory = memory;
    this.#control = new ControlClient({ kind: 'directory', directory: this.dataDirectory });
    this.#sources = {
      random: new FuzzRandom(seed),
      contents: new UpdateContents(seed),
      nextOperation: 1,
      clock: 1,
    };
  }

  /** Makes the groups and volumes in a directory that is empty, and leaves the daemon running. */
  static async create(
    directory: string,
    settings: SystemSettings,
    seed: number,
  ): Promise<CrashingSystem> {
    const system = new CrashingSystem(directory, settings.memory, seed);
    try {
      await system.start();
      for (const group of settings.groups) await system.#createGroup(group);
      system.poll();
      return system;
    } catch (error) {
      await system.close();
      throw error;
    }
  }

  async #createGroup(settings: GroupSettings): Promise<void> {
    const { name, onFull, syncInterval } = settings;
    const files = new GroupFiles(join(this.dataDirectory, 'groups'), name);
    const areas = Array.from({ length: settings.areas }, (_, at) =>
      join(this.directory, `${name}-journal-${at}`),
    );
    const isStriped = areas.length > 1;
    if (isStriped) for (const area of areas) mkdirSync(area);
    await this.#control.change('group create', {
      group: name,
      journalSize,
      onFull,
      syncInterval,
      ...(isStriped ? { journalDir: areas, areas: 'striped' } : {}),
    });
    const directories = isStriped ? areas : [files.journal];
    const nextKey = (): number => this.#nextKey++;
    this.groups.push(new GroupLedger(name, directories, this.#sources.contents, nextKey));
    for (const [volume, sizeBytes] of Object.entries(settings.volumesBytes)) {
      await this.createVolume(`${name}/${volume}`, sizeBytes);
    }
  }

  get random(): FuzzRandom {
    return this.#sources.random;
  }

  get output(): string {
    return this.#daemon?.output ?? '';
  }

  /** Whether the daemon ended by itself. */
  get hasExited(): boolean {
    return this.#daemon?.exited !== undefined;
  }

  get #running(): Daemon {
    return must(this.#daemon, 'the daemon was started');
  }

  get #socketPath(): string {
    return join(this.directory, 'nbd.socket');
  }

  get #hasSocket(): boolean {
    return this.#socketPath.length <= socketPathBytesMax;
  }

  /** New ports each time: somebody else may have taken the last ones. */
  async #prepare(): Promise<Daemon> {
    this.#daemon = await Daemon.prepare({
      dataDirectory: this.dataDirectory,
      nbd: this.#hasSocket ? [`unix:${this.#socketPath}`] : [],
      arguments: ['--memory', this.#memory],
    });
    return this.#daemon;
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const daemon = await this.#prepare();
      const began = performance.now();
      try {
        await daemon.start();
        this.startMilliseconds = performance.now() - began;
        return;
      } catch (error) {
        if (!isPortTaken(daemon) || attempt === startsMax) throw error;
      }
    }
  }

  /** Starts it, and kills it after so long: during its start, or just behind it. */
  async startAndKill(milliseconds: number): Promise<void> {
    const daemon = await this.#prepare();
    const started = daemon.start().catch(() => undefined);
    await sleep(milliseconds);
    const { exited } = daemon;
    await daemon.kill();
    await started;
    if (exited && !isPortTaken(daemon)) {
      throw new Error(`the daemon ended by itself (${JSON.stringify(exited)}):\n${daemon.output}`);
    }
  }

  async load(wanted: Partial<LoadSettings> = {}): Promise<void> {
    const addresses: ListenAddress[] = [
      { kind: 'tcp', host: '127.0.0.1', port: this.#running.port },
    ];
    if (this.#hasSocket) addresses.push({ kind: 'unix', path: this.#socketPath });
    this.#load = await CrashLoad.begin(this.#sources, this.groups, addresses, wanted);
  }

  /** From now on connections may break and requests be refused. */
  expectEnd(): void {
    this.#load?.expectEnd();
  }

  /** Ends the load; the daemon goes on. */
  async endLoad(): Promise<void> {
    await this.#load?.end();
    this.acknowledged += this.#load?.acknowledged ?? 0;
    this.#load = undefined;
  }

  connect(path: string): Promise<NbdClient> {
    return NbdClient.connectUri(this.#running.uri(path));
  }

  signal(name: 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.#running.pid, name);
  }

  async kill(): Promise<void> {
    this.expectEnd();
    await this.#daemon?.kill();
    await this.endLoad();
  }

  async createVolume(path: string, sizeBytes: number): Promise<void> {
    await this.#control.change('volume create', { volume: path, size: String(sizeBytes) });
  }

  async resizeVolume(path: string, sizeBytes: number): Promise<void> {
    await this.#control.change('volume resize', { volume: path, size: String(sizeBytes) });
  }

  async deleteVolume(path: string): Promise<void> {
    await this.#control.change('volume delete', { volume: path, force: true });
  }

  /** How many updates of the groups are not in their volumes yet. */
  async unapplied(): Promise<number> {
    const { groups } = await this.#control.status();
    return groups.reduce((sum, { watermarks }) => sum + watermarks.newest - watermarks.applied, 0);
  }

  /** Learns what is new in the journals. */
  poll(): void {
    for (const group of this.groups) group.poll();
  }

  #throwFindings(more: readonly Finding[] = []): void {
    const findings = [...this.groups.flatMap((group) => group.findings), ...more];
    if (findings.length > 0) throw new CrashTestFailure(findings);
  }

  /** The daemon is dead. Throws CrashTestFailure when the journal does not hold what it has to. */
  settle(): DeathReport[] {
    const lives = this.groups.map((group) => group.endLife());
    this.#throwFindings();
    const reports = this.checkJournals();
    return this.groups.map((group, at) => {
      const { checkpoint, watermarks } = must(reports.get(group.name), 'it was read');
      const counters = (checkpoint?.slots ?? []).map(({ counter }) => counter ?? 0);
      return {
        ...must(lives[at], 'one for each group'),
        group: group.name,
        unapplied: group.number - watermarks.applied,
        checkpointed: watermarks.applied,
        checkpoints: Math.max(0, ...counters),
        hasTornTail: group.follower.hasTornTail,
      };
    });
  }

  /** What `jnbd journal check` reads, here. Throws CrashTestFailure. */
  checkJournals(): Map<string, GroupReport> {
    const report = checkJournal(offlineDisk(), this.dataDirectory);
    const byName = new Map(report.groups.map((group) => [group.name ?? '', group]));
    const findings: Finding[] = [];
    for (const group of this.groups) {
      const found = byName.get(group.name);
      if (!found) {
        findings.push({ what: 'a group is not in the data directory', subject: group.name });
        continue;
      }
      for (const { severity, message } of found.problems) {
        if (severity !== 'damage') continue;
        findings.push({ what: 'the journal is damaged', subject: group.name, found: message });
      }
      const last = found.recovery?.lastNumber ?? 0;
      if (last === group.number && findings.length === 0) continue;
      findings.push({
        what: 'the journal ends elsewhere',
        subject: group.name,
        expected: `update ${group.number} as the last`,
        found: `update ${last}`,
      });
      for (const { number: _number, ...lost } of group.updatesOfLife(last + 1, Infinity)) {
        findings.push({ ...lost, found: `update ${last} as the last` });
      }
    }
    if (findings.length > 0) throw new CrashTestFailure(findings);
    return byName;
  }

  /** The same by the program itself. */
  async checkByProgram(): Promise<void> {
    const { code, stdout, stderr } = await jnbd(['journal', 'check', this.dataDirectory]);
    if (code === 0) return;
    const what = `jnbd journal check exited with ${code}`;
    throw new CrashTestFailure([{ what, subject: this.dataDirectory, found: stdout + stderr }]);
  }

  /**
   * The daemon serves: every volume that should be there is, has its size, and holds exactly what all
   * records of its group make of it. Throws CrashTestFailure.
   */
  async verify(): Promise<void> {
    this.poll();
    const findings: Finding[] = [];
    const { groups } = await this.#control.status();
    for (const group of this.groups) {
      const served = groups.find(({ name }) => name === group.name)?.volumes ?? [];
      for (const { name } of served) {
        if (group.volumes.has(name)) continue;
        findings.push({ what: 'a volume is there again', subject: `${group.name}/${name}` });
      }
      for (const volume of group.volumes.values()) {
        findings.push(...(await this.#compare(group, volume)));
      }
    }
    this.#throwFindings(findings);
  }

  async #compare(group: GroupLedger, volume: VolumeModel): Promise<Finding[]> {
    const subject = `${group.name}/${volume.name}`;
    let client: NbdClient;
    try {
      client = await this.connect(subject);
    } catch (error) {
      return [{ what: 'a volume is not served', subject, found: messageOf(error) }];
    }
    try {
      return await compareVolume(client, group, volume);
    } finally {
      client.destroy();
    }
  }

  /** What is left running ends; the directory stays. */
  async close(): Promise<void> {
    await this.kill();
    for (const group of this.groups) group.follower.close();
  }

  volumeFile(group: GroupLedger, volume: VolumeModel): string {
    const files = new GroupFiles(join(this.dataDirectory, 'groups'), group.name);
    const path = files.volume(volume.id);
    if (!existsSync(path)) throw new Error(`${path} is not there`);
    return path;
  }
}

function isPortTaken(daemon: Daemon): boolean {
  return daemon.exited !== undefined && / is in use by /.test(daemon.output);
}
