import { expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet } from '../fleet.ts';

const sizeBytes = 1024 * 1024;

test('what a follower has beyond its source acknowledges nothing once that is promoted', async () => {
  const fleet = new Fleet('further follower');
  const alpha = await fleet.startPrimary(sizeBytes);
  const beta = await fleet.start('beta');
  const gamma = await fleet.start('gamma');
  const host = new TestHost(alpha, 'g/v', new History());
  await host.write(0, Buffer.alloc(4096, 1));
  for (const follower of [beta, gamma]) {
    await follower.verb('follow', { group: 'g', from: alpha.url });
    await follower.caughtUp(alpha);
  }
  fleet.links.cut('alpha', 'beta');
  for (let i = 0; i < 20; i += 1) await host.write(4096 * i, Buffer.alloc(4096, 2));
  await gamma.caughtUp(alpha);
  await gamma.verb('follow', { group: 'g', from: beta.url });
  const { systemId } = gamma.system;
  const received = (): number => must(beta.group().followers.find(systemId), 'it follows').received;
  await beta.until(() => beta.group().followers.find(systemId) !== undefined);
  const { newest } = beta.group().watermarks;
  expect(received()).toBeGreaterThan(newest);
  fleet.links.cut('beta', 'gamma');
  alpha.kill();
  await beta.verb('promote', { group: 'g', force: true });
  expect(received()).toBe(newest);
  beta.group().followers.setSynchronous(systemId, true);
  const written = new TestHost(beta, 'g/v', new History());
  for (let i = 0; i < 40; i += 1) void written.write(4096 * i, Buffer.alloc(4096, 3));
  await beta.until(() => beta.group().watermarks.durable > newest);
  expect(received()).toBe(newest);
});
