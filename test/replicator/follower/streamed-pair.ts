import { expect } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { leaseOf } from '../../../src/replicator/follower/source-lease.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

export const sizeBytes = 4 * MiB;
export const timeoutMilliseconds = 5000;

export interface Pair {
  readonly fleet: Fleet;
  readonly primary: FleetSystem;
  readonly secondary: FleetSystem;
  readonly host: TestHost;
  readonly history: History;
}

/** A secondary that replies wait for, by a stream. */
export async function pair(seed: string): Promise<Pair> {
  const fleet = new Fleet(seed);
  const primary = await fleet.startPrimary(sizeBytes);
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  const history = new History();
  const host = new TestHost(primary, 'g/v', history);
  await host.write(0, Buffer.alloc(4096, 1));
  await secondary.caughtUp(primary);
  primary.group().followers.setSynchronous(secondary.system.systemId, true);
  await primary.until(() => primary.group().catalog.protection?.state === 'protected');
  await secondary.until(() => isStreaming(secondary));
  return { fleet, primary, secondary, host, history };
}

export async function pass({ clock }: Fleet, milliseconds: number): Promise<void> {
  const until = clock.monotonicMilliseconds() + milliseconds;
  clock.after(milliseconds, () => undefined);
  await clock.runUntil(() => clock.monotonicMilliseconds() >= until);
}

/** It has what it was given, and reads nothing. */
export function isStreaming(secondary: FleetSystem): boolean {
  return leftMilliseconds(secondary) > 0 && secondary.status().upstream?.limitedBy === null;
}

export function leftMilliseconds(secondary: FleetSystem): number {
  return leaseOf(secondary.group()).leftMilliseconds(timeoutMilliseconds);
}

export async function write(
  { fleet, host }: Pair,
  count: number,
  bytesMax = 16 * KiB,
): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const length = 512 * (1 + fleet.random.int(bytesMax / 512));
    const offset = 512 * fleet.random.int((sizeBytes - length) / 512);
    await host.write(offset, Buffer.alloc(length, fleet.random.between(1, 255)));
  }
}

export async function compare({ primary, secondary, history }: Pair): Promise<void> {
  await secondary.caughtUp(primary);
  const { newest } = primary.group().watermarks;
  const reader = new TestHost(secondary, 'g/v');
  const read = await reader.read(0, sizeBytes);
  if (typeof read === 'number') throw new Error(`reading at the secondary: ${read}`);
  reader.close();
  expect(history.contents('g/v', sizeBytes, newest).equals(read)).toBe(true);
}
