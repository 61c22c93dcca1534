import { describe, expect, it } from 'vitest';
import { GroupChanges } from '../../src/control/group-changes.ts';
import type { HookSubject } from '../../src/control/hooks.ts';
import { nodeClock } from '../../src/platform/clock.ts';

/** What is told of groups whose role and state the test sets. */
function watched() {
  const groups = new Map<string, HookSubject>();
  const told: string[] = [];
  const away = new Set<string>();
  const changes = new GroupChanges(
    () => [...groups.values()],
    (notice, { group, role, state, previous }) => {
      const before = previous ? `${previous.role} ${previous.state}` : 'new';
      told.push(`${notice} ${group}: ${before} -> ${role} ${state}`);
    },
    nodeClock,
    (group) => away.has(group),
  );
  const look = async (): Promise<string[]> => {
    changes.consider();
    changes.consider();
    expect(told).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    return told.splice(0);
  };
  const set = (group: string, role: string, state: string) =>
    groups.set(group, { group, role, state, generation: 1, number: 7 });
  return { groups, away, set, look };
}

describe('changes of groups', () => {
  it('are told once each', async () => {
    const { set, look } = watched();
    set('a', 'primary', 'normal');
    set('b', 'secondary', 'normal');
    expect(await look()).toEqual([
      'state-changed a: new -> primary normal',
      'state-changed b: new -> secondary normal',
    ]);
    expect(await look()).toEqual([]);
    set('a', 'primary', 'abnormal');
    expect(await look()).toEqual(['state-changed a: primary normal -> primary abnormal']);
  });

  it('of roles come first', async () => {
    const { set, look } = watched();
    set('a', 'secondary', 'normal');
    await look();
    set('a', 'primary', 'normal');
    expect(await look()).toEqual([
      'after-promote a: secondary normal -> primary normal',
      'state-changed a: secondary normal -> primary normal',
    ]);
    set('a', 'diverged', 'normal');
    expect(await look()).toEqual([
      'after-demote a: primary normal -> diverged normal',
      'state-changed a: primary normal -> diverged normal',
    ]);
    set('a', 'secondary', 'normal');
    expect(await look()).toEqual(['state-changed a: diverged normal -> secondary normal']);
  });

  it('are forgotten with the group', async () => {
    const { groups, set, look } = watched();
    set('a', 'primary', 'normal');
    await look();
    groups.clear();
    expect(await look()).toEqual([]);
    set('a', 'primary', 'normal');
    expect(await look()).toEqual(['state-changed a: new -> primary normal']);
  });

  it('are known of one that comes again', async () => {
    const { groups, away, set, look } = watched();
    set('a', 'secondary', 'normal');
    await look();
    groups.clear();
    away.add('a');
    expect(await look()).toEqual([]);
    away.clear();
    set('a', 'primary', 'normal');
    expect(await look()).toEqual([
      'after-promote a: secondary normal -> primary normal',
      'state-changed a: secondary normal -> primary normal',
    ]);
  });
});
