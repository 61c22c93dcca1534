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
  readonly alpha: Daemon;
  readonly beta: Daemon;
  readonly gamma: Daemon;
  readonly delta: Daemon;

  private constructor(daemons: readonly Daemon[]) {
    const [alpha, beta, gamma, delta] = daemons;
    this.alpha = must(alpha, 'alpha runs');
    this.beta = must(beta, 'beta runs');
    this.gamma = must(gamma, 'gamma runs');
    this.delta = must(delta, 'delta runs');
  }

  static async create(directory: string): Promise<CutSystems> {
    const daemons = await Promise.all(
      ['alpha', 'beta', 'gamma', 'delta'].map((name) =>
        Daemon.start({ dataDirectory: join(directory, name), arguments: ['--name', name] }),
      ),
    );
    const systems = new CutSystems(daemons);
    const { alpha, beta, gamma, delta } = systems;
    try {
      await Promise.all([systems.#pair(alpha, gamma, 'a'), systems.#pair(beta, delta, 'b')]);
      const [member, targets] = [
        ['--member', `${urlOf(alpha)}/a`, '--member', `${urlOf(beta)}/b`],
        ['--targets', `east=${urlOf(gamma)}/a,${urlOf(delta)}/b`],
      ];
      const times = ['--interval', '20ms', '--round-limit', '200ms'];
      await alpha.client('cut', 'create', cutName, ...member, ...targets, ...times);
      return systems;
    } catch (error) {
      await systems.close();
      throw error;
    }
  }

  async #pair(primary: Daemon, secondary: Daemon, group: string): Promise<void> {
    await primary.client('group', 'create', group, '--journal-size', '64MiB');
    await primary.client('volume', 'create', `${group}/v`, '--size', '1MiB');
    await secondary.client('follow', group, '--from', urlOf(primary));
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

export function urlOf(daemon: Daemon): string {
  return `http://127.0.0.1:${daemon.listenPort}`;
}

/** As the system knows it by itself. */
async function cutOf(daemon: Daemon): Promise<LocalCutStatus | undefined> {
  const { body } = await daemon.get('/status');
  return (JSON.parse(body) as Status).cuts[0];
}

export async function groupOf(daemon: Daemon, name: string): Promise<GroupStatus> {
  return (await daemon.client('group', 'show', name)) as GroupStatus;
}
