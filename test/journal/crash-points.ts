import type { DiskOperation } from '../simulation/faults.ts';
import type { SimulatedProcessDisk } from '../simulation/simulated-process-disk.ts';
import { SimulatedMachine } from './simulated-system.ts';

/** Everything that changes a disk. */
const operations: readonly DiskOperation[] = ['write', 'sync', 'entry', 'sync_directory'];

export interface Scenario<Prepared> {
  /** What is there before. */
  prepare(machine: SimulatedMachine): Promise<Prepared>;
  /** What is interrupted. */
  act(machine: SimulatedMachine, prepared: Prepared): Promise<unknown>;
  /** A daemon was started again; whatever happened is before the action or after it. */
  check(machine: SimulatedMachine, prepared: Prepared): Promise<void>;
}

/**
 * Does the action on a fresh machine again and again, and lets the process die in its nth operation of
 * each kind, with the machine's power or without, until the action gets through; checks what a daemon
 * makes of what is left. Returns how often the process died.
 */
export async function crashEverywhere<Prepared>(
  name: string,
  scenario: Scenario<Prepared>,
): Promise<number> {
  let deaths = 0;
  for (const operation of operations) {
    for (const losesPower of [false, true]) {
      for (let nth = 1; ; nth += 1) {
        const seed = `${name} ${operation} ${losesPower} ${nth}`;
        const machine = new SimulatedMachine(seed);
        await machine.start();
        const prepared = await scenario.prepare(machine);
        machine.machine.faults.add({ kind: 'death', operation, nth });
        const { disk } = machine;
        await untilOverOrDead(machine, disk, scenario.act(machine, prepared));
        machine.machine.faults.clear();
        const died = disk.isDead;
        if (losesPower) machine.losePower();
        else machine.kill();
        try {
          await machine.start();
          await scenario.check(machine, prepared);
          await machine.stop();
        } catch (error) {
          throw new Error(`${seed}: ${String(error)}`, { cause: error });
        }
        if (!died) break;
        deaths += 1;
      }
    }
  }
  return deaths;
}

async function untilOverOrDead(
  machine: SimulatedMachine,
  disk: SimulatedProcessDisk,
  action: Promise<unknown>,
): Promise<void> {
  let isOver = false;
  let failure: Error | undefined;
  action.then(
    () => {
      isOver = true;
    },
    (error: unknown) => {
      isOver = true;
      failure = error as Error;
    },
  );
  try {
    await machine.until(() => isOver || disk.isDead);
  } catch (error) {
    if (!disk.isDead) throw error;
  }
  if (failure !== undefined && !disk.isDead) throw failure;
}
