import { describe, expect, test } from 'vitest';
import type { Protection } from '../../../src/group/catalog/protection.ts';
import type { Group } from '../../../src/group/order/group.ts';
import { checkHeard, knownLoss, membersToHear } from '../../../src/group/roles/known-loss.ts';

const members = [1, 2, 3].map((systemId) => ({ systemId, name: `s${systemId}` }));

type Losing = Parameters<typeof knownLoss>[0];

const stretch = { generation: 1, system: 9, incarnation: 1, firstNumber: 1 };
const promoted = [stretch, { ...stretch, generation: 2, firstNumber: 8 }];

function group(
  protection: Protection | undefined,
  follow: object = { copies: [] },
  lineage: object[] = [stretch],
): Losing {
  const watermarks = { released: 0, applied: 7, durable: 9, newest: 9 };
  return {
    catalog: { name: 'g', protection, lineage },
    follow: { state: follow },
    watermarks,
  } as unknown as Pick<Group, 'catalog' | 'follow' | 'watermarks'>;
}

function waitingFor(needed: number, count: number): Protection {
  const rule = { members: members.slice(0, count), needed, timeoutMilliseconds: 5000 };
  return { state: 'protected', number: 3, atMilliseconds: 0, believed: [], ...rule };
}

const lost: Protection = {
  state: 'unprotected',
  number: 8,
  behind: 5,
  members,
  lost: members,
  atMilliseconds: 0,
  believed: [],
};

/** By the number in its name. */
const heard = (name: string, aheadUpdates = 0) => {
  return { systemId: Number(/\d+$/.exec(name)?.[0] ?? 0), name, aheadUpdates, isHeard: true };
};
const silent = (name: string) => ({ ...heard(name), isHeard: false });

describe('a secondary says zero loss', () => {
  test('while its source waits for it, and for all', () => {
    expect(knownLoss(group(waitingFor(2, 2)), 2, 1, undefined)).toMatchObject({ state: 'zero' });
  });

  test.each([
    ['nobody was ever waited for', group(undefined), 1, 'no follower'],
    ['its source goes on without it', group(lost), 1, 'updates from 6 on'],
    ['others are waited for', group(waitingFor(1, 1)), 1, 's1 and not for this system'],
    ['its lease ran out', group(waitingFor(2, 2)), 0, 'confirmed nothing for 5s'],
    ['it copies', group(waitingFor(2, 2), { copies: [{}] }), 1, 'not complete'],
    ['another one took over', group(waitingFor(2, 2), undefined, promoted), 1, 'was promoted'],
    ['it resyncs', group(waitingFor(2, 2), { copies: [], resync: {} }), 1, 'not complete'],
  ])('but not when %s', (_, losing, lease, text) => {
    const loss = knownLoss(losing, 2, lease, []);
    expect(loss.state).toBe('unknown');
    expect(loss.text).toContain(text);
  });
});

describe('of any one of three', () => {
  const one = group(waitingFor(1, 3));

  test('all have to be heard, and none be further', () => {
    expect(membersToHear(one, 2)).toBe(3);
    expect(knownLoss(one, 2, 1, undefined).text).toContain('--dry-run asks');
    expect(knownLoss(one, 2, 1, [heard('s1'), silent('s3')]).text).toContain('3 of them');
    expect(knownLoss(one, 2, 1, [heard('s1'), heard('other')]).state).toBe('unknown');
    expect(knownLoss(one, 2, 1, [heard('s1'), heard('s3', 4)]).text).toContain('s3 has 4');
    expect(knownLoss(one, 2, 1, [heard('s1'), heard('s3')]).state).toBe('zero');
  });

  test('a member counts by what it is, and not by what it is called', () => {
    const renamed = { ...heard('s3'), name: 'other' };
    expect(knownLoss(one, 2, 1, [heard('s1'), renamed]).state).toBe('zero');
    const namesake = { ...heard('s7'), name: 's3' };
    expect(knownLoss(one, 2, 1, [heard('s1'), namesake]).state).toBe('unknown');
    expect(knownLoss(one, 2, 1, [heard('s1'), { ...renamed, aheadUpdates: 4 }]).text).toContain(
      'member other has 4',
    );
  });

  test('a promotion is refused where that is not so, and of two of three where one other is heard it is not', () => {
    expect(() => checkHeard(one, 2, [heard('s1')])).toThrow(/--force/);
    expect(() => checkHeard(one, 2, [heard('s1'), heard('s3')])).not.toThrow();
    const two = group(waitingFor(2, 3));
    expect(membersToHear(two, 2)).toBe(2);
    expect(() => checkHeard(two, 2, [heard('s1'), silent('s3')])).not.toThrow();
    expect(() => checkHeard(two, 2, [silent('s1'), silent('s3')])).toThrow(/2 of them/);
    expect(() => checkHeard(two, 2, [heard('s1', 1)])).toThrow(/s1 has 1/);
    expect(() => checkHeard(group(waitingFor(3, 3)), 2, [])).not.toThrow();
    expect(() => checkHeard(group(undefined), 2, [])).not.toThrow();
  });
});
