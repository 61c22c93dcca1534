import { expect, test } from 'vitest';
import type { Catalog } from '../../../src/group/catalog/catalog.ts';
import { Conditions } from '../../../src/group/catalog/conditions.ts';
import { FollowerChecksums } from '../../../src/group/followers/follower-checksums.ts';

const rome = { systemId: 7, name: 'rome' };
const agreed = { number: 80, atMilliseconds: Date.UTC(2026, 4, 4, 10, 11, 12) };

function setting() {
  const told: string[] = [];
  const conditions = new Conditions((code) => told.push(code));
  const catalog = { name: 'g', volumes: [{ id: 1, name: 'v' }] } as unknown as Catalog;
  const checksums = new FollowerChecksums({ catalog, conditions });
  return { told, conditions, checksums };
}

test('a difference names follower and volume, and ends when it agrees again', () => {
  const { told, conditions, checksums } = setting();
  expect(checksums.of(7)).toBeUndefined();
  checksums.told(rome, { compared: 80, agreed, differing: [] });
  expect(conditions.list()).toEqual([]);
  for (const compared of [120, 160]) {
    checksums.told(rome, { compared, agreed, differing: [1] });
    expect(conditions.list()).toEqual([
      {
        code: 'follower_differs',
        severity: 'error',
        message:
          'what follower rome has of volume g/v is not what the primary had, as its checksums show; all of it was the same at update 80, 2026-05-04T10:11:12.000Z',
        nextCommand: 'jnbd verify g',
      },
    ]);
  }
  checksums.told(rome, { compared: 200, agreed: { ...agreed, number: 200 }, differing: [] });
  expect(told).toEqual(['follower_differs', 'follower_differs_cleared']);
  expect(checksums.of(7)).toMatchObject({ compared: 200 });
});

test('it ends where nothing is compared any more, for this follower alone', () => {
  const { conditions, checksums } = setting();
  const oslo = { systemId: 8, name: 'oslo' };
  const differs = { compared: 5, agreed: undefined, differing: [1, 9] };
  for (const follower of [rome, oslo]) checksums.told(follower, differs);
  const [first] = conditions.list();
  expect(first?.message).toContain('of volumes g/v, g/9 is not');
  expect(first?.message).toContain('nothing there was shown to be the same since it was started');
  const milan = { systemId: 7, name: 'milan' };
  checksums.renamed(rome, milan);
  expect(conditions.list().map(({ message }) => / (\w+) has/.exec(message)?.[1])).toEqual([
    'oslo',
    'milan',
  ]);
  checksums.told(milan, 'off');
  expect(conditions.list().map(({ message }) => message.includes('oslo'))).toEqual([true]);
  checksums.forget(oslo, 'was dropped');
  expect(conditions.list()).toEqual([]);
  expect([checksums.of(7), checksums.of(8)]).toEqual(['off', undefined]);
});
