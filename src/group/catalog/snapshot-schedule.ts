import type { ScheduleRule } from '../../platform/schedule-text.ts';

/** A snapshot that was made by the schedule. */
export interface ScheduledSnapshot {
  readonly name: string;
  readonly atMilliseconds: number;
}

const namePattern = /^auto-\d{8}-\d{6}$/;
const weekSeconds = 604_800;
/** Of the first Monday of Unix time. */
const mondaySeconds = 4 * 86_400;

/** Names of the schedule's own; nobody else gives them. */
export function isScheduledName(name: string): boolean {
  return namePattern.test(name);
}

/** `auto-20300131-120000`, UTC. */
export function scheduledName(atMilliseconds: number): string {
  const [day = '', time = ''] = new Date(atMilliseconds).toISOString().split('T');
  return `auto-${day.replaceAll('-', '')}-${time.slice(0, 8).replaceAll(':', '')}`;
}

/** Which stretch of its rule a time is in: hours and days begin as those of UTC, weeks on Mondays. */
function stretchOf({ everySeconds }: ScheduleRule, milliseconds: number): number {
  const seconds = Math.floor(milliseconds / 1000);
  const begin = everySeconds % weekSeconds === 0 ? mondaySeconds : 0;
  return Math.floor((seconds - begin) / everySeconds);
}

/**
 * What is to be done now. A snapshot is due where a rule has none in the present stretch: however many were missed,
 * it is one, for all rules. Each rule keeps the oldest of each of the newest `keep` stretches in which there
 * are any; what no rule keeps goes, the oldest first.
 */
export function decideSchedule(
  rules: readonly ScheduleRule[],
  snapshots: readonly ScheduledSnapshot[],
  nowMilliseconds: number,
): { readonly isDue: boolean; readonly superseded: readonly string[] } {
  const inOrder = [...snapshots].sort((left, right) => left.atMilliseconds - right.atMilliseconds);
  const kept = new Set<string>();
  let isDue = false;
  for (const rule of rules) {
    const now = stretchOf(rule, nowMilliseconds);
    const first = new Map<number, string>();
    for (const { name, atMilliseconds } of inOrder) {
      const stretch = stretchOf(rule, atMilliseconds);
      if (!first.has(stretch)) first.set(stretch, name);
    }
    const stretches = [...first.keys()];
    // One of later is there where the clock was put back.
    if (!stretches.some((stretch) => stretch >= now)) isDue = true;
    for (const stretch of stretches.slice(-rule.keep)) kept.add(first.get(stretch) ?? '');
  }
  const superseded = inOrder.map(({ name }) => name).filter((name) => !kept.has(name));
  return { isDue, superseded };
}
