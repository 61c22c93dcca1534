import { afterEach, expect, test } from 'vitest';
import { MiB } from '../../src/platform/limits.ts';
import { SimulatedMachine } from './simulated-system.ts';
import { TestHost } from './test-host.ts';

let machine: SimulatedMachine;

afterEach(async () => {
  machine.machine.faults.clear();
  await machine.stop();
});

async function serve(seed: string): Promise<TestHost> {
  machine = new SimulatedMachine(seed, { delayMillisecondsMax: 0.1 });
  await machine.start();
  await machine.createGroup();
  await machine.createVolume('v', 1 * MiB);
  return new TestHost(machine, 'g/v');
}

/** A write that is to be durable; how long the thread was held up by it. */
async function heldUp(host: TestHost): Promise<number> {
  await host.write(0, Buffer.alloc(4096, 1));
  const before = machine.clock.monotonicMilliseconds();
  host.session.requestDurable(host.session.newest);
  const held = machine.clock.monotonicMilliseconds() - before;
  await machine.until(() => host.durable >= host.session.newest);
  return held;
}

function stall(): void {
  machine.machine.faults.add({
    kind: 'slow',
    operation: 'sync',
    role: 'segment',
    milliseconds: 1000,
  });
}

test('of many syncs that stand still, one at most holds up the thread', async () => {
  const host = await serve('stalls');
  for (let i = 0; i < 20; i += 1) await heldUp(host);
  stall();
  const held: number[] = [];
  for (let i = 0; i < 8; i += 1) held.push(await heldUp(host));
  expect(held.filter((milliseconds) => milliseconds > 0)).toHaveLength(1);
});
