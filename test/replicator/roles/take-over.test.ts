import { describe, expect, test } from 'vitest';
import type { GroupStatus } from '../../../src/control/schema-status.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { HistoryTrial } from './history-trial.ts';

/** Alpha wrote what nobody has, and beta took over: links are as they were again. */
async function forked(seed: string, own = 50) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha, fleet } = trial;
  await trial.write(alpha, 100);
  const beta = await trial.follower('beta', alpha);
  fleet.links.cut('alpha', 'beta');
  const host = await trial.write(alpha, own);
  const fork = await trial.promote(beta, alpha);
  await trial.write(beta, 60);
  return { trial, alpha, beta, host, fork };
}

describe('a primary that another system took over from', () => {
  test('serves no host when it starts again, and waits for a command', async () => {
    const { trial, alpha, beta, fork } = await forked('taken start');
    alpha.losePower();
    trial.fleet.links.mend('alpha', 'beta');
    for (let start = 0; start < 2; start += 1) {
      await alpha.start();
      const { newest } = alpha.group().watermarks;
      expect(newest).toBeGreaterThan(fork);
      const status = alpha.status();
      expect(status).toMatchObject({ role: 'diverged', generation: 1 });
      expect(status.conditions).toMatchObject([
        { code: 'diverged', nextCommand: `jnbd follow g --from ${beta.url} --rewind` },
      ]);
      expect(status.conditions[0]?.message).toContain(`updates ${fork + 1} to ${newest}`);
      expect(() => trial.host(alpha)).toThrow('generation 2 was begun elsewhere');
      expect(alpha.group().catalog.takenOver).toMatchObject({ generation: 2, fork });
      await expect(alpha.verb('volume create', { volume: 'g/w', size: MiB })).rejects.toThrow(
        'diverged',
      );
      await expect(alpha.verb('demote', { group: 'g' })).rejects.toThrow('diverged');
      alpha.kill();
    }
  });

  test('stops the writes of its hosts while it runs', async () => {
    const { trial, alpha, fork, host } = await forked('taken running');
    const { newest } = alpha.group().watermarks;
    expect(alpha.status().role).toBe('primary');
    trial.fleet.links.mend('alpha', 'beta');
    await alpha.until(() => alpha.status().role === 'diverged', 30_000);
    expect(host.revoked).toContain('system beta took over');
    expect(await trial.writeOne(host)).toBeLessThan(0);
    expect(host.session.errorText).toContain('generation 2 was begun elsewhere');
    expect(alpha.group().watermarks.newest).toBe(newest);
    expect(alpha.group().catalog.takenOver).toMatchObject({ fork, name: 'beta' });
  });

  test('keeps what nobody else has until a command comes', async () => {
    const { trial, alpha, fork } = await forked('taken kept', 3000);
    trial.fleet.links.mend('alpha', 'beta');
    await alpha.until(() => alpha.status().role === 'diverged', 30_000);
    for (const { systemId } of alpha.group().followers.list())
      alpha.group().followers.drop(systemId);
    alpha.group().hurryApply();
    await trial.pass(5000);
    expect(alpha.group().watermarks.released).toBeLessThanOrEqual(fork);
    alpha.kill();
    await alpha.start();
    alpha.group().hurryApply();
    await trial.pass(5000);
    expect(alpha.group().watermarks.released).toBeLessThanOrEqual(fork);
  });

  test('learns it from a follower that knows a newer generation', async () => {
    const { trial, alpha, beta, host } = await forked('taken told');
    const gamma = await trial.follower('gamma', beta);
    await expect(gamma.verb('follow', { group: 'g', from: alpha.url })).rejects.toMatchObject({
      code: 'generation_newer',
    });
    expect(alpha.status().role).toBe('diverged');
    expect(host.revoked).toContain('system gamma took over');
    expect(gamma.status()).toMatchObject({ role: 'secondary', upstream: { url: beta.url } });
  });

  test('follows with nothing lost when it has nothing that the other one has not', async () => {
    const { trial, alpha, beta } = await forked('taken empty', 0);
    trial.fleet.links.mend('alpha', 'beta');
    await alpha.until(() => alpha.status().role === 'diverged', 30_000);
    expect(alpha.status().conditions[0]?.nextCommand).toBe(`jnbd follow g --from ${beta.url}`);
    expect(beta.status().secondaries).toMatchObject([{ name: 'alpha', state: 'suspended' }]);
    await alpha.verb('follow', { group: 'g', from: beta.url });
    await alpha.caughtUp(beta);
    expect(trial.expected(beta).equals(await trial.contents(alpha))).toBe(true);
    expect(alpha.status()).toMatchObject({ role: 'secondary', generation: 2, conditions: [] });
    await beta.until(() => beta.status().secondaries[0]?.state === 'following');
  });

  test('is primary again only by force, in a generation that is newer than both', async () => {
    const { trial, alpha, beta } = await forked('taken force');
    trial.fleet.links.mend('alpha', 'beta');
    await alpha.until(() => alpha.status().role === 'diverged', 30_000);
    await expect(alpha.verb('promote', { group: 'g' })).rejects.toThrow('was begun elsewhere');
    await alpha.verb('promote', { group: 'g', force: true });
    expect(alpha.status()).toMatchObject({ role: 'primary', generation: 3, conditions: [] });
    await trial.write(alpha, 10);
    await beta.until(() => beta.status().role === 'diverged', 30_000);
  });
});

describe('a primary at its start', () => {
  test('serves when nobody answers, after a while', async () => {
    const { trial, alpha, beta } = await forked('start alone');
    beta.kill();
    alpha.kill();
    const before = trial.fleet.clock.monotonicMilliseconds();
    await alpha.start();
    const waited = trial.fleet.clock.monotonicMilliseconds() - before;
    expect(waited).toBeGreaterThanOrEqual(2000);
    expect(waited).toBeLessThan(4000);
    expect(alpha.daemon.events.map(({ code }) => code)).toContain('primary_assumed');
    await trial.write(alpha, 5);
    trial.fleet.links.mend('alpha', 'beta');
    await beta.start();
    await alpha.until(() => alpha.status().role === 'diverged', 30_000);
  });

  test('waits for ever where somebody has to confirm it', async () => {
    const trial = await HistoryTrial.begin('start confirm');
    const { alpha } = trial;
    await trial.write(alpha, 20);
    const beta = await trial.follower('beta', alpha);
    alpha.kill();
    beta.kill();
    await alpha.start({ mustConfirmPrimary: true });
    await trial.pass(60_000);
    expect(() => trial.host(alpha)).toThrow('knows no newer generation');
    expect(alpha.status().conditions).toMatchObject([{ code: 'primary_unconfirmed' }]);
    await expect(alpha.verb('volume create', { volume: 'g/w', size: MiB })).rejects.toThrow('beta');
    await beta.start();
    await alpha.until(() => alpha.status().conditions.length === 0, 10_000);
    await trial.write(alpha, 20);
    await beta.caughtUp(alpha);
  });

  test('waits for nobody where it has no member', async () => {
    const trial = await HistoryTrial.begin('start no member');
    trial.alpha.kill();
    await trial.alpha.start({ mustConfirmPrimary: true });
    await trial.write(trial.alpha, 5);
  });
});

describe('two primaries of one generation', () => {
  test('are told, until one is promoted by force', async () => {
    const trial = await HistoryTrial.begin('two primaries');
    const { alpha, fleet } = trial;
    await trial.write(alpha, 20);
    const beta = await trial.follower('beta', alpha);
    const gamma = await trial.follower('gamma', beta);
    alpha.kill();
    fleet.links.cut('beta', 'gamma');
    await trial.promote(beta, alpha);
    await trial.promote(gamma, alpha);
    await trial.write(beta, 5);
    await trial.write(gamma, 5);
    fleet.links.mend('beta', 'gamma');
    const isTold = ({ conditions }: GroupStatus): boolean =>
      conditions.some(({ code }) => code === 'two_primaries');
    await beta.until(() => isTold(beta.status()) && isTold(gamma.status()), 30_000);
    await expect(gamma.verb('follow', { group: 'g', from: beta.url })).rejects.toThrow(
      'jnbd demote g',
    );
    await beta.verb('promote', { group: 'g', force: true });
    expect(beta.status()).toMatchObject({ role: 'primary', generation: 3, conditions: [] });
    await gamma.until(() => gamma.status().role === 'diverged', 30_000);
  });
});

test('a second primary that follows after all is told of no more', async () => {
  const trial = await HistoryTrial.begin('two primaries end');
  const { alpha, fleet } = trial;
  await trial.write(alpha, 20);
  const beta = await trial.follower('beta', alpha);
  const gamma = await trial.follower('gamma', beta);
  alpha.kill();
  fleet.links.cut('beta', 'gamma');
  await trial.promote(beta, alpha);
  await trial.promote(gamma, alpha);
  fleet.links.mend('beta', 'gamma');
  const isTold = (): boolean =>
    beta.status().conditions.some(({ code }) => code === 'two_primaries');
  await beta.until(isTold, 30_000);
  await gamma.verb('group delete', { group: 'g', force: true });
  // It is heard of again and again.
  await gamma.verb('follow', { group: 'g', from: beta.url, pace: 'interval:50ms' });
  await beta.until(() => !isTold(), 30_000);
});

describe('a promotion', () => {
  test('keeps what the old primary needs to come back', async () => {
    const { trial, alpha, beta, fork } = await forked('promotion keeps');
    await trial.write(beta, 3000);
    beta.group().hurryApply();
    await trial.pass(5000);
    expect(beta.group().watermarks.released).toBeLessThanOrEqual(fork);
    beta.kill();
    await beta.start();
    expect(beta.status().secondaries).toMatchObject([
      { name: 'alpha', state: 'suspended', received: fork },
    ]);
    expect(beta.group().watermarks.released).toBeLessThanOrEqual(fork);
    expect(alpha.status().role).toBe('primary');
  });
});

describe('demote', () => {
  test('makes a primary without hosts a secondary that can follow', async () => {
    const trial = await HistoryTrial.begin('demote');
    const { alpha } = trial;
    const host = await trial.write(alpha, 20);
    const beta = await trial.follower('beta', alpha);
    await expect(alpha.verb('demote', { group: 'g' })).rejects.toThrow('is in use by 127.0.0.1');
    host.close();
    await alpha.verb('demote', { group: 'g' });
    await alpha.verb('demote', { group: 'g' });
    expect(alpha.status()).toMatchObject({ role: 'secondary', upstream: null });
    await trial.promote(beta, alpha);
    await trial.write(beta, 20);
    await alpha.verb('follow', { group: 'g', from: beta.url });
    await alpha.caughtUp(beta);
    expect(trial.expected(beta).equals(await trial.contents(alpha))).toBe(true);
  });
});
