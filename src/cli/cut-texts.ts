/** How cuts read. */
import type { CutStatus, MarkerStatus } from '../control/schema-cut-status.ts';
import { colors, stateText, table } from './texts.ts';

export function markerText({ id, name, ageSeconds }: MarkerStatus): string {
  const named = name === '' ? '' : ` (${name})`;
  return `${id}${named}, ${ageSeconds.toFixed(1)}s ago`;
}

export function cutLines(cut: CutStatus): string {
  const { name, controller, newest, rounds, intervalMilliseconds, roundLimitMilliseconds } = cut;
  const every =
    intervalMilliseconds === null
      ? 'markers by hand alone'
      : `every ${timeText(intervalMilliseconds)}`;
  const who = controller === null ? 'no system controls it now' : `controlled by ${controller}`;
  return [
    `cut ${name}: newest marker ${newest ? markerText(newest) : 'none yet'}; ${every}, hosts held ${timeText(roundLimitMilliseconds)} at most; ${who}`,
    `${rounds.committed} markers committed, ${rounds.aborted} given up${abortText(rounds.lastAbort)}`,
    memberTable(cut),
    ...cut.targets.map(targetLines),
    ...(cut.nextCommand === null ? [] : [`next: ${cut.nextCommand}`]),
  ].join('\n');
}

function timeText(milliseconds: number): string {
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`;
}

function abortText(lastAbort: CutStatus['rounds']['lastAbort']): string {
  return lastAbort === null ? '' : `, the last at ${lastAbort.at}: ${lastAbort.reason}`;
}

function memberTable({ members }: CutStatus): string {
  return table(
    ['MEMBER', 'GROUP', 'HELD', 'AT', 'STATE'],
    members.map(({ system, url, group, obstacle, heldMillisecondsPerSecond }) => [
      system,
      group,
      `${heldMillisecondsPerSecond.toFixed(1)} ms/s`,
      url,
      obstacle === '' ? stateText('normal') : colors.yellow(obstacle),
    ]),
  );
}

function targetLines({
  name,
  selectable,
  target,
  secondaries,
}: CutStatus['targets'][number]): string {
  const at = (marker: MarkerStatus | null): string => (marker ? markerText(marker) : 'none');
  return [
    `target list ${name}: applies to ${at(target)}; can be brought to ${at(selectable)}`,
    table(
      ['SECONDARY', 'GROUP', 'TARGET', 'RECEIVED', 'APPLIED', 'STATE'],
      secondaries.map((each) => [
        each.system,
        each.group,
        each.target ?? '-',
        String(each.received),
        `${each.applied} (${each.behindUpdates} to apply)`,
        each.text === '' ? stateText(each.state) : `${stateText(each.state)}: ${each.text}`,
      ]),
    ),
  ].join('\n');
}
