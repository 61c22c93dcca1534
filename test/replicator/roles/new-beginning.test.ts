import { expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 8 * MiB;

/** Beta keeps the journal of alpha alone, and is away until alpha has left it behind. */
async function leftBehind(seed: string, below: boolean) {
  const fleet = new Fleet(seed);
  const alpha = await fleet.startPrimary(sizeBytes);
  const beta = await fleet.start('beta');
  await beta.verb('follow', { group: 'g', from: alpha.url, journalOnly: true });
  const gamma = await fleet.start('gamma');
  if (below) {
    await gamma.verb('follow', { group: 'g', from: beta.url });
    await write(alpha, 20);
    await gamma.caughtUp(alpha);
    const { newest } = beta.group().watermarks;
    await beta.until(() => beta.group().followers.list()[0]?.received === newest);
  } else {
    await write(alpha, 20);
    await beta.caughtUp(alpha);
  }
  const { newest } = beta.group().watermarks;
  fleet.links.cut('alpha', 'beta');
  const isBehind = (): boolean => alpha.status().secondaries[0]?.state === 'behind';
  while (!isBehind()) await write(alpha, 20);
  await write(alpha, 200);
  alpha.group().hurryApply();
  await alpha.until(() => alpha.group().watermarks.released > newest);
  fleet.links.mend('alpha', 'beta');
  return { alpha, beta, gamma, newest };
}

async function write(system: FleetSystem, count: number): Promise<void> {
  const host = new TestHost(system, 'g/v');
  const { random } = system.fleet;
  for (let i = 0; i < count; i += 1) {
    const offset = 512 * Math.floor(random.fraction() * ((sizeBytes - 128 * KiB) / 512));
    await host.write(offset, Buffer.alloc(100 * KiB, 1 + (i % 255)));
  }
  await host.flush();
  host.close();
}

test('a journal alone that was left behind begins anew by itself where its followers have all it has', async () => {
  const { alpha, beta, gamma, newest } = await leftBehind('anew', true);
  await beta.until(() => beta.group().watermarks.newest === alpha.group().watermarks.newest);
  const { released } = beta.group().watermarks;
  expect(released).toBeGreaterThan(newest);
  expect(beta.daemon.events.map(({ message }) => message).join('\n')).toContain(
    `begins anew behind update ${released}: system alpha has released those from ${newest + 1} on`,
  );
  expect(beta.status()).toMatchObject({
    role: 'secondary',
    upstream: { state: 'reading' },
    conditions: [{ code: 'follower_behind', severity: 'error' }],
  });
  await write(alpha, 20);
  await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
  await alpha.until(() => alpha.status().secondaries[0]?.state === 'following');

  // What was in the gap is not known there: nothing passes for it, and the source has it.
  await gamma.until(() => gamma.status().conditions.length > 0 || !gamma.status().upstream, 60_000);
  expect(gamma.group().watermarks.newest).toBe(newest);
  await expect(gamma.verb('follow', { group: 'g', from: alpha.url })).rejects.toThrow(
    'compare the volumes (jnbd follow --rewind)',
  );
  await gamma.verb('follow', { group: 'g', from: alpha.url, rewind: true });
  await gamma.caughtUp(alpha);
  const hosts = [new TestHost(alpha, 'g/v'), new TestHost(gamma, 'g/v')];
  const [there, here] = [await hosts[0]?.read(0, sizeBytes), await hosts[1]?.read(0, sizeBytes)];
  for (const host of hosts) host.close();
  expect(Buffer.isBuffer(there) && Buffer.isBuffer(here) && there.equals(here)).toBe(true);
  await beta.stop();
  await beta.start();
  await beta.until(() => beta.status().upstream?.state === 'reading');
  await write(alpha, 20);
  await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
});

test('a journal alone begins behind the last change of the volumes', async () => {
  const fleet = new Fleet('behind the last change');
  const alpha = await fleet.startPrimary(sizeBytes);
  while (alpha.group().watermarks.released === 0) {
    await write(alpha, 100);
    alpha.group().hurryApply();
    await alpha.until(() => alpha.group().driver.isDone);
  }
  await write(alpha, 20);
  await alpha.verb('volume create', { volume: 'g/v2', size: sizeBytes });
  const { catalog, watermarks } = alpha.group();
  expect(watermarks.released).toBeLessThan(catalog.number);
  const beta = await fleet.start('beta');
  await beta.verb('follow', { group: 'g', from: alpha.url, journalOnly: true });
  // Else it has a volume that is no part of the history of another system, which it comes to follow with less than that.
  expect(beta.group().watermarks.released).toBe(catalog.number);
  await write(alpha, 20);
  await beta.until(() => beta.group().watermarks.newest === alpha.group().watermarks.newest);
});

test('a journal alone that nobody has taken over begins anew by command, and is saved first', async () => {
  const { alpha, beta, newest } = await leftBehind('anew by command', false);
  await beta.until(() => beta.status().upstream?.state === 'refused');
  const [condition] = beta.status().conditions;
  expect(condition).toMatchObject({
    code: 'follow_refused',
    nextCommand: `jnbd follow g --from ${alpha.url} --rewind`,
  });
  expect(condition?.message).toContain(`keeps updates 1 to ${newest}, which nobody else has`);
  expect(beta.group().watermarks.newest, 'nothing is given up').toBe(newest);

  await beta.verb('follow', { group: 'g', from: alpha.url, rewind: true });
  await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
  await beta.until(() => beta.status().upstream?.state === 'reading');
  expect(beta.status()).toMatchObject({
    branches: [{ fork: 0, first: 1, newest }],
    upstream: { state: 'reading' },
    conditions: [],
  });
});

test.each([0, 1, 2, 3, 4, 5, 6, 7])(
  'it begins anew whenever it dies on the way, and what it had before is never shown as what comes next, seed %i',
  async (seed) => {
    const { alpha, beta, gamma, newest } = await leftBehind(`anew deaths ${seed}`, true);
    const { random, clock } = alpha.fleet;
    for (let life = 0; life < 6; life += 1) {
      const end = clock.monotonicMilliseconds() + random.fraction() * 300;
      await beta.until(() => clock.monotonicMilliseconds() >= end);
      if (random.fraction() < 0.5) beta.kill();
      else beta.losePower();
      await beta.start();
      const { released, newest: now } = beta.group().watermarks;
      const beganBehind = now === newest || released > newest;
      expect(beganBehind, `released ${released}, newest ${newest} then ${now}`).toBe(true);
      await write(alpha, 2);
    }
    await beta.until(
      () =>
        beta.status().upstream?.state === 'reading' &&
        beta.group().watermarks.durable === alpha.group().watermarks.newest,
    );
    expect(gamma.group().watermarks.newest).toBe(newest);
    await gamma.verb('follow', { group: 'g', from: alpha.url, rewind: true });
    await gamma.caughtUp(alpha);
  },
);
