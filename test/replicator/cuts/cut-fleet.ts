import type { CutStatus, MarkerStatus } from '../../../src/control/schema-cut-status.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

export const cutName = 'orders';

/** Two primaries, alpha of group a and beta of group b, with secondaries gamma and delta, and a cut over all. */
export class CutFleet {
  readonly fleet: Fleet;
  readonly alpha: FleetSystem;
  readonly beta: FleetSystem;
  readonly gamma: FleetSystem;
  readonly delta: FleetSystem;
  #count = 0;

  private constructor(fleet: Fleet, systems: readonly FleetSystem[]) {
    this.fleet = fleet;
    const [alpha, beta, gamma, delta] = systems.map((system) => must(system, 'it was started'));
    this.alpha = must(alpha, 'alpha');
    this.beta = must(beta, 'beta');
    this.gamma = must(gamma, 'gamma');
    this.delta = must(delta, 'delta');
  }

  /** `others`: groups of gamma that its memory is divided among. */
  static async begin(seed: string, others = 0): Promise<CutFleet> {
    const fleet = new Fleet(seed);
    const systems = [];
    for (const name of ['alpha', 'beta', 'gamma', 'delta']) systems.push(await fleet.start(name));
    const cut = new CutFleet(fleet, systems);
    const { alpha, beta, gamma, delta } = cut;
    for (let i = 0; i < others; i += 1) {
      await gamma.verb('group create', { group: `other${i}`, journalSize: 64 * MiB });
    }
    for (const [primary, secondary, group] of [
      [alpha, gamma, 'a'],
      [beta, delta, 'b'],
    ] as const) {
      await primary.verb('group create', { group, journalSize: 64 * MiB });
      await primary.verb('volume create', { volume: `${group}/v`, size: MiB });
      await secondary.verb('follow', { group, from: primary.url });
      await secondary.caughtUp(primary, group);
    }
    return cut;
  }

  get systems(): readonly FleetSystem[] {
    return [this.alpha, this.beta, this.gamma, this.delta];
  }

  wish(settings: object = {}): object {
    const { alpha, beta, gamma, delta } = this;
    return {
      cut: cutName,
      member: [`${alpha.url}/a`, `${beta.url}/b`],
      targets: [`east=${gamma.url}/a,${delta.url}/b`],
      interval: '250ms',
      ...settings,
    };
  }

  create(settings: object = {}, at = this.alpha): Promise<unknown> {
    return at.verb('cut create', this.wish(settings));
  }

  async status(at = this.alpha): Promise<CutStatus> {
    const { cuts } = (await at.verb('cut status', { cut: cutName })) as { cuts: CutStatus[] };
    return must(cuts[0], 'there is the cut');
  }

  /** All secondaries apply towards a marker that is newer than what there is now. */
  async untilLevel(): Promise<void> {
    const { newest } = await this.status(this.running);
    const from = newest ? newest.id : '0.0';
    await this.untilTarget(({ id }) => isLater(id, from));
  }

  /** All secondaries apply towards the marker of that name. */
  untilAt(wanted: string): Promise<void> {
    return this.untilTarget(({ name }) => name === wanted);
  }

  async untilTarget(isWanted: (marker: MarkerStatus) => boolean): Promise<void> {
    for (let look = 0; look < 600; look += 1) {
      await this.pass(100);
      const { targets } = await this.status(this.running);
      const target = targets[0]?.target;
      const isApplied = targets[0]?.secondaries.every(({ state }) => state === 'holding');
      if (target && isApplied && isWanted(target)) return;
    }
    throw new Error('the target list does not go on');
  }

  /** Hosts write alternately on both primaries, each once the other one was answered. */
  async pingPong(writes: number): Promise<void> {
    const hosts = [new TestHost(this.alpha, 'a/v'), new TestHost(this.beta, 'b/v')];
    for (let i = 0; i < writes; i += 1) {
      this.#count += 1;
      const bytes = Buffer.alloc(512);
      bytes.writeUInt32LE(this.#count, 0);
      const { session } = must(hosts[this.#count % 2], 'a host');
      const number = await must(hosts[this.#count % 2], 'a host').write(0, bytes);
      if (number <= session.plainThrough) continue;
      session.requestDurable(number);
      await this.fleet.clock.runUntil(() => session.answerable >= number, 10_000);
    }
    for (const host of hosts) host.close();
  }

  /** The newest write that each of the two copies holds: neither may miss what the other one's followed. */
  async held(a: FleetSystem, b: FleetSystem): Promise<readonly [number, number]> {
    const read = async (system: FleetSystem, name: string): Promise<number> => {
      const host = new TestHost(system, name);
      const bytes = await host.read(0, 512);
      host.close();
      if (typeof bytes === 'number') throw new Error(`${system.host} fails to read: ${bytes}`);
      return bytes.readUInt32LE(0);
    };
    return [await read(a, 'a/v'), await read(b, 'b/v')];
  }

  pass(milliseconds: number): Promise<void> {
    return this.fleet.pass(milliseconds);
  }

  get running(): FleetSystem {
    return must(
      this.systems.find(({ daemon }) => daemon.isServing),
      'a system runs',
    );
  }
}

export function isLater(id: string, than: string): boolean {
  const [epoch = '0', sequence = '0'] = id.split('.');
  const [epochBefore = '0', sequenceBefore = '0'] = than.split('.');
  if (epoch !== epochBefore) return BigInt(epoch) > BigInt(epochBefore);
  return BigInt(sequence) > BigInt(sequenceBefore);
}
