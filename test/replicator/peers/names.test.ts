import { expect, test } from 'vitest';
import { systemNameOf } from '../../../src/group/catalog/names.ts';
import { MiB, namePattern } from '../../../src/platform/limits.ts';
import { Fleet } from '../fleet.ts';

test('every name of a host is made one of a system', () => {
  expect(systemNameOf('db-1.example.com')).toBe('db-1.example.com');
  expect(systemNameOf('-été du sud')).toBe('t-du-sud');
  for (const host of ['', '...', '😀', 'x'.repeat(300), '-a', 'a b', '(none)']) {
    expect(systemNameOf(host)).toMatch(namePattern);
  }
});

test('a system with the name of its source, or of another follower that is there, is refused until it has another', async () => {
  const fleet = new Fleet('names');
  const source = await fleet.startPrimary(MiB);
  const follow = { group: 'g', from: source.url };

  const [second, third] = [fleet.add('beta'), fleet.add('gamma')];
  await second.start({ rename: 'alpha' });
  await expect(second.verb('follow', follow)).rejects.toThrow(
    /named alpha, which is that of its source too.*serve --rename NAME/,
  );
  await second.stop();
  await second.start({ rename: 'beta' });
  await second.verb('follow', follow);
  await second.caughtUp(source);

  await third.start({ rename: 'beta' });
  await expect(third.verb('follow', follow)).rejects.toThrow(/another follower of group g has too/);
  // One that is gone is no obstacle to whoever takes its place.
  second.kill();
  await third.until(() => (source.status().secondaries[0]?.lag.received.seconds ?? 0) > 10);
  await third.verb('follow', follow);
  await third.caughtUp(source);
  expect(source.status().secondaries.map(({ name }) => name)).toEqual(['beta', 'beta']);

  // A new name is told to the source by the next registration.
  await third.stop();
  await third.start({ rename: 'delta' });
  await third.until(() => source.status().secondaries.some(({ name }) => name === 'delta'));
});
