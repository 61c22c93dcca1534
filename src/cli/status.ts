import type { Status } from '../control/schema-status.ts';
import { formatSize } from '../platform/size-text.ts';
import type { ReadCommand } from './command.ts';
import { markerText } from './cut-texts.ts';
import {
  conditionLines,
  deletedLines,
  followerChecksumsText,
  groupHead,
  groupLine,
  historyText,
  lagText,
  protectionText,
  rollbackText,
  table,
  upstreamText,
  volumeHead,
  volumeLine,
} from './texts.ts';

const noLag = { updates: 0, bytes: 0, seconds: 0 };

export const command: ReadCommand<'status'> = {
  kind: 'read',
  name: 'status',
  read: (status) => status,
  repeats: ({ watch }) => watch ?? false,
  text: (status) =>
    [systemLine(status), ...groupTables(status), ...status.groups.flatMap(conditionLines)].join(
      '\n\n',
    ),
};

function systemLine({ system }: Status): string {
  const { name, version, uptimeSeconds, nbd, residentBytes } = system;
  return (
    `system ${name}, jnbd ${version}, up ${duration(uptimeSeconds)}, ` +
    `NBD on ${nbd.join(', ')}, ${formatSize(residentBytes)} resident`
  );
}

function groupTables({ groups, cuts }: Status): string[] {
  if (groups.length === 0) return ['no groups; next: jnbd group create GROUP'];
  const volumes = groups.flatMap((group) =>
    group.volumes.map((volume) => volumeLine(group.name, volume)),
  );
  return [
    table(groupHead, groups.map(groupLine)),
    ...(volumes.length > 0 ? [table(volumeHead, volumes)] : []),
    ...groups.flatMap(deletedLines),
    ...groups
      .filter(({ upstream }) => upstream !== null)
      .map(
        (group) =>
          `group ${group.name} follows ${upstreamText(group)}; behind ${lagText(group.upstream?.lag.received ?? noLag)}`,
      ),
    ...groups.flatMap(({ name, secondaries }) =>
      secondaries.map(
        (each) =>
          `group ${name} is followed by ${each.name}, ${each.state}; behind ${lagText(each.lag.received)}; same at: ${followerChecksumsText(each)}`,
      ),
    ),
    ...groups
      .filter(({ history }) => history.fromTime !== null)
      .map((group) => `history of group ${group.name}: ${historyText(group)}`),
    ...groups
      .filter(({ rollback }) => rollback !== null)
      .map((group) => `group ${group.name} is being rolled back: ${rollbackText(group)}`),
    ...groups
      .filter(({ synchronous }) => synchronous.state !== 'none')
      .map((group) => `replies to hosts of group ${group.name} ${protectionText(group)}`),
    ...groups.flatMap(({ name, limitedBy }) =>
      limitedBy === null ? [] : [limitText(name, limitedBy)],
    ),
    ...cuts.map(cutText),
  ];
}

function cutText({ name, newest, targets, controller }: Status['cuts'][number]): string {
  const marker = newest ?? targets.find(({ received }) => received !== null)?.received;
  const known = marker ? `newest marker here ${markerText(marker)}` : 'no marker here yet';
  const who = controller === null ? '' : `; system ${controller} controls it`;
  return `cut ${name}: ${known}${who}; next: jnbd cut status ${name}`;
}

function limitText(group: string, limitedBy: string): string {
  return limitedBy === 'space'
    ? `hosts of group ${group} are refused what needs new space`
    : `hosts of group ${group} wait for: ${limitedBy}`;
}

function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first === -1) return '0s';
  return parts
    .slice(first, first + 2)
    .map(([value, unit]) => `${value}${unit}`)
    .join(' ');
}
