import { join } from 'node:path';
import type { CutStatus, LocalCutStatus } from '../../src/control/schema-cut-status.ts';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { must } from '../../src/platform/assert.ts';
import { until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';

export const cutName = 'orders';
const waitSeconds = 60;

/** Two primaries, each with a secondary, and a cut over all of them. */
export class CutSystems {
  /** Where certificates are, in a directory for each system; undefined: they need none. */
  readonly #certificates: string | undefined;
  readonly alpha: Daemon;
  readonly beta: Daemon;
  readonly gamma: Daemon;
  readonly delta: Daemon;

  private constructor(daemons: readonly Daemon[], certificates: string | undefined) {
    this.#certificates = certificates;
    const [alpha, beta, gamma, delta] = daemons;
    this.alpha = must(alpha, 'alpha runs');
    this.beta = must(beta, 'beta runs');
    this.gamma = must(gamma, 'gamma runs');
    this.delta = must(delta, 'delta runs');
  }

  static async create(directory: string, certificates?: string): Promise<CutSystems> {
    const daemons = await Promise.all(
      ['alpha', 'beta', 'gamma', 'delta'].map((name) => {
        const tls = certificates ? ['--tls', 'allow', '--tls-dir', join(certificates, name)] : [];
        const settings = ['--name', name, ...tls];
        return Daemon.start({ dataDirectory: join(directory, name), arguments: settings });
      }),
    );
    const systems = new CutSystems(daemons, certificates);
    const { alpha, beta, gamma, delta } = systems;
    try {
      await Promise.all([
        systems.#pair(alpha, gamma, 'a', 'gamma'),
        systems.#pair(beta, delta, 'b', 'delta'),
      ]);
      await alpha.client(...systems.createCommand);
      return systems;
    } catch (error) {
      await systems.close();
      throw error;
    }
  }

  get createCommand(): string[] {
    const [a, b] = [`${this.#url(this.alpha)}/a`, `${this.#url(this.beta)}/b`];
    const targets = `east=${this.#url(this.gamma)}/a,${this.#url(this.delta)}/b`;
    const places = ['--member', a, '--member', b, '--targets', targets];
    return ['cut', 'create', cutName, ...places, '--interval', '20ms', '--round-limit', '200ms'];
  }

  #url({ listenPort }: Daemon): string {
    return `${this.#certificates ? 'https' : 'http'}://127.0.0.1:${listenPort}`;
  }

  async #pair(
    primary: Daemon,
    secondary: Daemon,
    group: string,
    secondaryName: string,
  ): Promise<void> {
    await primary.client('group', 'create', group, '--journal-size', '64MiB');
    await primary.client('volume', 'create', `${group}/v`, '--size', '1MiB');
    if (this.#certificates) await primary.client('secondary', 'allow', group, secondaryName);
    await secondary.client('follow', group, '--from', this.#url(primary));
    await secondary.client('wait', group, '--for', 'synced', '--timeout', '60s');
  }

  get all(): readonly Daemon[] {
    return [this.alpha, this.beta, this.gamma, this.delta];
  }

  async status(at: Daemon): Promise<CutStatus> {
    const { cuts } = (await at.client('cut', 'status', cutName)) as { cuts: CutStatus[] };
    return must(cuts[0], 'there is the cut');
  }

  /** Both secondaries apply towards a marker that was made from now on. */
  async untilLevel(): Promise<void> {
    const began = Date.now();
    let cuts: (LocalCutStatus | undefined)[] = [];
    await until(
      () => `the target list does not go on: ${JSON.stringify(cuts, null, 1)}`,
      waitSeconds,
      async () => {
        cuts = await Promise.all([this.gamma, this.delta].map(cutOf));
        return cuts.every((cut) => {
          const target = cut?.targets[0]?.target;
          return target !== undefined && target !== null && Date.parse(target.at) > began;
        });
      },
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((daemon) => daemon.kill()));
  }
}

/** As the system knows it by itself. */
async function cutOf(daemon: Daemon): Promise<LocalCutStatus | undefined> {
  const { body } = await daemon.get('/status');
  return (JSON.parse(body) as Status).cuts[0];
}

export async function groupOf(daemon: Daemon, name: string): Promise<GroupStatus> {
  return (await daemon.client('group', 'show', name)) as GroupStatus;
}
