import { JnbdError } from '../../src/platform/errors.ts';
import type { Campaign } from './campaign.ts';
import { SimulatedDaemon } from './simulated-daemon.ts';

/** Another daemon on the same directory, or on another one at the same address, is refused and harms nobody. */
export async function secondDaemon(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const [directory, expected] = random.pick([
    ['/data', 'data_directory_locked'],
    ['/data', 'data_directory_locked'],
    ['/other', 'address_in_use'],
  ] as const);
  const second = new SimulatedDaemon(
    simulation,
    random.fork(`second ${simulation.clock.events}`),
    directory,
  );
  const result = await simulation.settled(second.starting);
  const isKilled = second.isDead;
  if (!isKilled && second.disk.isLockedSync(`${directory}/lock`) !== (directory === '/data')) {
    simulation.fail(`the second daemon leaves the lock of ${directory} otherwise than it should`);
  }
  second.exited();
  if (isKilled || typeof result === 'string') return;
  if (!('error' in result)) return simulation.fail(`a second daemon serves ${directory}`);
  const code = result.error instanceof JnbdError ? result.error.code : String(result.error);
  simulation.counter.count(`start refused: ${code}`);
  simulation.counter.count(`code ${code}`);
  if (code !== expected && !simulation.excuses.has('disk')) {
    simulation.fail(`the second daemon, on ${directory}: ${String(result.error)}`);
  }
}
