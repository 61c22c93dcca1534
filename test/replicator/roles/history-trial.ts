import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { contents } from '../contents.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

export const volumeBytes = 8 * MiB;

/** A primary alpha with a volume, and others that follow it. */
export class HistoryTrial {
  readonly fleet: Fleet;
  readonly alpha: FleetSystem;
  /** Of each system that was primary, what was written in its history. */
  readonly #histories = new Map<FleetSystem, History>();

  private constructor(fleet: Fleet, alpha: FleetSystem) {
    this.fleet = fleet;
    this.alpha = alpha;
    this.#histories.set(alpha, new History());
  }

  static async begin(seed: string, journalSize = 64 * MiB): Promise<HistoryTrial> {
    const fleet = new Fleet(seed);
    const alpha = await fleet.startPrimary(volumeBytes, journalSize);
    return new HistoryTrial(fleet, alpha);
  }

  async follower(host: string, source: FleetSystem): Promise<FleetSystem> {
    const follower = await this.fleet.start(host);
    await follower.verb('follow', { group: 'g', from: source.url });
    await follower.caughtUp(source);
    await source.until(() =>
      source
        .status()
        .secondaries.some(
          ({ name, state, applied }) =>
            name === host && state === 'following' && applied === source.group().watermarks.newest,
        ),
    );
    return follower;
  }

  historyOf(system: FleetSystem): History {
    return must(this.#histories.get(system), `${system.host} was primary`);
  }

  /** The heir's history begins as that of whom it takes over from, up to what it has. */
  async promote(heir: FleetSystem, before: FleetSystem, at?: string): Promise<number> {
    const position = at === undefined ? {} : { at };
    await heir.verb('promote', { group: 'g', force: true, ...position });
    const fork = heir.group().watermarks.newest;
    this.#histories.set(heir, this.historyOf(before).through(fork));
    return fork;
  }

  host(system: FleetSystem, name = 'g/v'): TestHost {
    return new TestHost(system, name, this.historyOf(system));
  }

  async write(system: FleetSystem, count: number, name = 'g/v'): Promise<TestHost> {
    const host = this.host(system, name);
    for (let i = 0; i < count; i += 1) await this.writeOne(host);
    await host.flush();
    return host;
  }

  /** The number of the record, or the negated errno. */
  writeOne(host: TestHost): Promise<number> {
    const { random } = this.fleet;
    const below = (limit: number): number => Math.floor(random.fraction() * limit);
    const length = 512 * (1 + below(40));
    const offset = 512 * below((host.session.sizeBytes - length) / 512);
    const kind = random.fraction();
    if (kind < 0.1) return host.clear(kind < 0.05 ? 'zero' : 'hole', offset, length);
    return host.write(offset, Buffer.alloc(length, 1 + below(255)));
  }

  /** What readers of the volume get. */
  contents(system: FleetSystem, name = 'g/v'): Promise<Buffer> {
    return contents(system, name);
  }

  expected(primary: FleetSystem): Buffer {
    const { newest } = primary.group().watermarks;
    return this.historyOf(primary).contents('g/v', volumeBytes, newest);
  }

  pass(milliseconds: number): Promise<void> {
    return this.fleet.pass(milliseconds);
  }
}
