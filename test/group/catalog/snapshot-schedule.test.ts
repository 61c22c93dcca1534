import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decideSchedule,
  isScheduledName,
  scheduledName,
} from '../../../src/group/catalog/snapshot-schedule.ts';
import { formatSchedule, parseSchedule } from '../../../src/platform/schedule-text.ts';

const hour = 3_600_000;
const start = Date.parse('2030-01-31T12:30:00Z');

/** Looks every ten minutes for so long, as a primary does; what there is then, newest first. */
function run(text: string, hours: number, isAway: (at: number) => boolean = () => false): Date[] {
  const rules = parseSchedule(text) ?? [];
  let there: { name: string; atMilliseconds: number }[] = [];
  for (let at = start; at <= start + hours * hour; at += hour / 6) {
    if (isAway(at)) continue;
    if (decideSchedule(rules, there, at).isDue)
      there.push({ name: scheduledName(at), atMilliseconds: at });
    const { isDue, superseded } = decideSchedule(rules, there, at);
    expect(isDue).toBe(false);
    there = there.filter(({ name }) => !superseded.includes(name));
  }
  return there.map(({ atMilliseconds }) => new Date(atMilliseconds)).reverse();
}

test('hours and days are kept as told, and one snapshot serves both', () => {
  const found = run('hourly:24,daily:7', 20 * 24).map((date) => date.toISOString().slice(5, 16));
  // The day's first is the hour's, too.
  expect(found).toHaveLength(24 + 6);
  expect(found.slice(0, 3)).toEqual(['02-20T12:00', '02-20T11:00', '02-20T10:00']);
  expect(found.slice(-2)).toEqual(['02-15T00:00', '02-14T00:00']);
  expect(run('hourly:1', 10)).toHaveLength(1);
  expect(run('weekly:2', 24 * 30).map((date) => date.getUTCDay())).toEqual([1, 1]);
});

test('what was missed is made once, when there is somebody again', () => {
  const away = (at: number): boolean => at > start + hour && at < start + 9.6 * hour;
  const found = run('hourly:24', 11, away).map((date) => date.toISOString().slice(11, 16));
  expect(found).toEqual(['23:00', '22:10', '13:00', '12:30']);
});

test('a clock that was put back makes nothing twice, and deletes nothing else', () => {
  const rules = parseSchedule('hourly:2') ?? [];
  const there = [0, 1].map((at) => ({ name: `s${at}`, atMilliseconds: start + at * hour }));
  expect(decideSchedule(rules, there, start - 5 * hour)).toEqual({ isDue: false, superseded: [] });
});

test('there are never more than the rules keep, and the newest is one of them', () => {
  const rule = fc.record({
    everySeconds: fc.integer({ min: 60, max: 9999 }),
    keep: fc.integer({ min: 1, max: 5 }),
  });
  const times = fc.array(fc.integer({ min: 0, max: 10_000_000 }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 3 }), times, (rules, at) => {
      const there = [...new Set(at)].map((atMilliseconds) => ({
        name: String(atMilliseconds),
        atMilliseconds,
      }));
      const now = Math.max(0, ...at);
      const { superseded } = decideSchedule(rules, there, now);
      const kept = there.filter(({ name }) => !superseded.includes(name));
      expect(kept.length).toBeLessThanOrEqual(rules.reduce((sum, { keep }) => sum + keep, 0));
      // Deciding again changes nothing.
      expect(decideSchedule(rules, kept, now).superseded).toEqual([]);
      const most = Math.max(...rules.map(({ keep }) => keep));
      expect(kept.length).toBeGreaterThanOrEqual(Math.min(1, there.length, most));
    }),
    { numRuns: 200 },
  );
});

test('names and rules are as they are typed', () => {
  expect(scheduledName(start)).toBe('auto-20300131-123000');
  expect(isScheduledName('auto-20300131-123000')).toBe(true);
  expect(isScheduledName('auto-1')).toBe(false);
  expect(parseSchedule('hourly:24, 15m:4')).toEqual([
    { everySeconds: 3600, keep: 24 },
    { everySeconds: 900, keep: 4 },
  ]);
  expect(formatSchedule(parseSchedule('daily:7,90m:2') ?? [])).toBe('daily:7,90m:2');
  expect(formatSchedule(parseSchedule('none') ?? [{ everySeconds: 1, keep: 1 }])).toBe('none');
  const wrong = [
    '',
    'hourly',
    'hourly:0',
    'yearly:1',
    '5s:1',
    'hourly:1,1h:2',
    'hourly:150,daily:51',
  ];
  expect(wrong.filter((text) => parseSchedule(text) !== undefined)).toEqual([]);
});
