import { formatSize } from '../platform/size-text.ts';
import type { ReadCommand } from './command.ts';
import { findGroup } from './found.ts';
import {
  checksumsText,
  conditionLines,
  deletedLines,
  historyText,
  lagText,
  properties,
  protectionText,
  rollbackText,
  secondaryHead,
  secondaryLine,
  stateText,
  synchronousText,
  table,
  upstreamText,
  volumeHead,
  volumeLine,
} from './texts.ts';
import type { GroupStatus } from '../control/schema-status.ts';

export const command: ReadCommand<'group show'> = {
  kind: 'read',
  name: 'group show',
  read: (status, { group }) => findGroup(status, group),
  text: (group) => {
    const { journal, lag, watermarks, volumes } = group;
    const full =
      journal.minutesToFull === null ? '' : `, full in ${Math.round(journal.minutesToFull)}m`;
    return [
      properties([
        ['group', group.name],
        ['state', stateText(group.state)],
        ['role', group.role],
        ['generation', String(group.generation)],
        ...followLines(group),
        ['limited by', group.limitedBy ?? 'nothing'],
        [
          'updates',
          `released ${watermarks.released}, applied ${watermarks.applied}, durable ${watermarks.durable}, newest ${watermarks.newest}`,
        ],
        ['to apply', `${lag.applied.updates} updates, ${lag.applied.seconds.toFixed(1)}s`],
        [
          'journal',
          `${formatSize(journal.usedBytes)} of ${formatSize(journal.capacityBytes)}${full}`,
        ],
        ['on full', journal.onFull],
        ['sync interval', `${journal.syncIntervalMilliseconds}ms`],
        ['areas', journal.areaLayout],
        ...(group.members.length === 0 ? [] : [membersLine(group)]),
        ['secondary exports', group.secondaryExports],
        ['delete delay', `${group.deleteDelaySeconds}s`],
        ['snapshots', snapshotsText(group)],
        ['history', historyText(group)],
        ...(group.rollback ? [['rollback', rollbackText(group)] as [string, string]] : []),
        ['checksums', checksumsText(group)],
        ['replies', protectionText(group)],
        ['synchronous', synchronousText(group.synchronous)],
        ['release', `what every follower has ${journal.release}`],
        ...(journal.copyBytesPerSecond === null
          ? []
          : [
              ['copy rate', `${formatSize(journal.copyBytesPerSecond)} a second`] as [
                string,
                string,
              ],
            ]),
        ...journal.areas.map(({ path, role, state, failure }): [string, string] => [
          role === 'journal' ? 'area' : 'emergency area',
          `${path} ${stateText(state)}${failure === '' ? '' : ` (${failure})`}`,
        ]),
      ]),
      ...(volumes.length > 0
        ? [
            table(
              volumeHead,
              volumes.map((volume) => volumeLine(group.name, volume)),
            ),
          ]
        : []),
      ...deletedLines(group),
      ...(group.secondaries.length > 0
        ? [table(secondaryHead, group.secondaries.map(secondaryLine))]
        : []),
      ...conditionLines(group),
    ].join('\n\n');
  },
};

function snapshotsText({ snapshots, snapshotSchedule, clones }: GroupStatus): string {
  const living = snapshots.filter(({ state }) => state === 'normal').length;
  const ofClones =
    clones.length === 0
      ? ''
      : `, ${clones.length} writable ${clones.length === 1 ? 'clone' : 'clones'}`;
  return `${living}${ofClones}, scheduled: ${snapshotSchedule}`;
}

function membersLine({ members }: GroupStatus): [string, string] {
  const each = members.map(({ name, url }) => (url === null ? name : `${name} at ${url}`));
  return ['also at', each.join(', ')];
}

function followLines(group: GroupStatus): [string, string][] {
  const { upstream, pairs } = group;
  if (!upstream) return [];
  const copying = pairs.filter(({ state }) => state === 'copying');
  return [
    ['follows', upstreamText(group)],
    ...(upstream.relief.length === 0
      ? []
      : [
          [
            'relief',
            `${upstream.relief.join(', ')} while ${upstream.preferredUrl} is busy or away`,
          ] as [string, string],
        ]),
    ...(upstream.whenFull === 'keep'
      ? []
      : [['when full', 'what the journal has no room for is dropped'] as [string, string]]),
    [
      'behind',
      `received ${lagText(upstream.lag.received)}; applied ${lagText(upstream.lag.applied)}`,
    ],
    ...copying.map(({ volume, copyCompletionBytes }): [string, string] => [
      'copying',
      `${volume}: ${formatSize(copyCompletionBytes)}`,
    ]),
  ];
}
