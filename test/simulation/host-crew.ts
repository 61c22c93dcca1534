import { shownVolumes } from '../../src/group/apply/volume.ts';
import type { Group } from '../../src/group/order/group.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import type { Excuses } from './excuses.ts';
import type { FaultCounter } from './faults.ts';
import type { JournalTap } from './journal-tap.ts';
import type { HostRequest } from './simulated-host.ts';
import type { SimulatedNetwork } from './simulated-network.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import { WorkHost, type Workload } from './work-host.ts';

const replyForms: readonly ReplyForm[] = ['simple', 'structured', 'extended'];

/** Kinds of what can happen to a host's session. */
export const sessionKinds = [
  'session opened',
  'session refused',
  'session left by its host',
  'session ended by the daemon',
  'session died with the daemon',
] as const;

interface CrewWorld {
  readonly network: SimulatedNetwork;
  readonly tap: JournalTap;
  readonly counter: FaultCounter;
  readonly excuses: Excuses;
  readonly random: SimulatedRandom;
  readonly report: (text: string) => void;
}

/** The hosts that are connected, and whether what they are told may be. */
export class HostCrew {
  readonly #world: CrewWorld;
  readonly #hosts = new Set<WorkHost>();
  #connections = 0;

  constructor(world: CrewWorld) {
    this.#world = world;
    world.counter.expect(sessionKinds);
  }

  get size(): number {
    return this.#hosts.size;
  }

  [Symbol.iterator](): IterableIterator<WorkHost> {
    return this.#hosts.values();
  }

  get areIdle(): boolean {
    for (const host of this.#hosts) if (!host.isIdle) return false;
    return true;
  }

  /** For who reads of a hang. */
  waiting(): string {
    return [...this.#hosts]
      .filter((host) => !host.isIdle)
      .map((host) => `${host.group}/${host.volume} waits for ${host.host.underWay} answers`)
      .join(', ');
  }

  connect(group: string, volume: string, workload: Workload): WorkHost {
    const { network, tap, counter, random, report } = this.#world;
    this.#connections += 1;
    const host = new WorkHost(
      {
        network,
        tap,
        report,
        opened: () => counter.count('session opened'),
        failed: (failing, request) => this.#requestFailed(failing, request),
        count: (what) => counter.count(what),
      },
      random.fork(`host ${this.#connections}`),
      group,
      volume,
      workload,
      random.pick(replyForms),
    );
    this.#hosts.add(host);
    return host;
  }

  disconnect(host: WorkHost): void {
    if (!host.isCut && host.host.isReady) this.#world.counter.count('session left by its host');
    host.host.destroy();
    this.#hosts.delete(host);
  }

  /** The daemon is gone: answers on their way still count. */
  abandon(): void {
    for (const host of this.#hosts) {
      if (host.host.isReady) this.#world.counter.count('session died with the daemon');
      host.abandon();
    }
  }

  clear(): void {
    this.#hosts.clear();
  }

  /** Reads every volume whole, each by a host of its own; these are returned. */
  connectReaders(groups: Iterable<Group>): WorkHost[] {
    const hosts: WorkHost[] = [];
    for (const { name, state, volumes } of groups) {
      if (state !== 'normal') continue;
      for (const volume of shownVolumes(volumes)) {
        if (volume.state !== 'normal' || volume.catalog.journalOnly) continue;
        if (volume.rollsBackTo !== undefined) continue;
        hosts.push(this.connect(name, volume.catalog.name, readingOnly));
      }
    }
    return hosts;
  }

  /** Lets go of those whose connection ended, which there must be a reason for. */
  checkConnections(): void {
    const { counter, excuses, report } = this.#world;
    for (const host of this.#hosts) {
      if (!host.isCut) continue;
      this.#hosts.delete(host);
      const name = `${host.group}/${host.volume}`;
      if (host.refusal === undefined) {
        counter.count('session ended by the daemon');
        if (!excuses.has('stopping') && !excuses.has('disk')) {
          report(`${name}: the daemon cut the connection`);
        }
        continue;
      }
      counter.count('session refused');
      counter.count(`code ${host.refusal.code}`);
      const isClosing = host.refusal.code === 'shutting_down' && excuses.has('stopping');
      if (!isClosing && !excuses.mayFail('EIO')) report(`${name}: refused: ${host.refusal.text}`);
    }
  }

  #requestFailed(host: WorkHost, request: HostRequest): void {
    const name = excusedErrors[request.errno];
    const { counter, excuses, report } = this.#world;
    counter.count(`error ${name ?? request.errno}`);
    if (name !== undefined && excuses.mayFail(name)) return;
    report(
      `${host.group}/${host.volume}: command ${request.type} of ${request.length} bytes at ${request.offset} failed with ${name ?? request.errno}: ${request.errorText}`,
    );
  }
}

const excusedErrors: Readonly<Record<number, 'EIO' | 'ENOSPC' | 'ESHUTDOWN'>> = {
  5: 'EIO',
  28: 'ENOSPC',
  108: 'ESHUTDOWN',
};

const readingOnly: Workload = {
  mix: { write: 0, fua: 0, flush: 0, trim: 0, zeroes: 0, read: 1, status: 0, cache: 0 },
  sizes: [4096],
  alignment: 1,
  hotBytes: 4096,
  depth: 4,
};
