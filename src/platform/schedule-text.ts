import { formatExactDuration, parseDuration } from './duration-text.ts';

/** One snapshot in each stretch of time, of which the newest `keep` stay. */
export interface ScheduleRule {
  readonly everySeconds: number;
  readonly keep: number;
}

const named = { hourly: 3600, daily: 86_400, weekly: 604_800 } as const;
const everySecondsMin = 60;
const everySecondsMax = 366 * 86_400;
/** Of all rules of a group together: there is room for those of users beside them. */
const keepMax = 200;

/** `hourly:24,daily:7,15m:4`; `none` is no rule. Undefined where it is none of these. */
export function parseSchedule(text: string): readonly ScheduleRule[] | undefined {
  if (text === 'none') return [];
  const rules: ScheduleRule[] = [];
  for (const part of text.split(',')) {
    const [, every = '', count = ''] = /^([a-z0-9.]+):(\d{1,3})$/.exec(part.trim()) ?? [];
    const everySeconds = secondsOf(every);
    const keep = Number(count);
    if (everySeconds === undefined || keep < 1) return undefined;
    if (rules.some((rule) => rule.everySeconds === everySeconds)) return undefined;
    rules.push({ everySeconds, keep });
  }
  return rules.reduce((sum, { keep }) => sum + keep, 0) > keepMax ? undefined : rules;
}

function secondsOf(every: string): number | undefined {
  if (every === 'hourly' || every === 'daily' || every === 'weekly') return named[every];
  const seconds = (parseDuration(every) ?? Number.NaN) / 1000;
  const isRight =
    Number.isInteger(seconds) && seconds >= everySecondsMin && seconds <= everySecondsMax;
  return isRight ? seconds : undefined;
}

/** As it is typed. */
export function formatSchedule(rules: readonly ScheduleRule[]): string {
  if (rules.length === 0) return 'none';
  return rules
    .map(({ everySeconds, keep }) => {
      const name = Object.entries(named).find(([, seconds]) => seconds === everySeconds)?.[0];
      return `${name ?? formatExactDuration(everySeconds * 1000)}:${keep}`;
    })
    .join(',');
}
