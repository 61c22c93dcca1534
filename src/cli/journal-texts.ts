/** How what was read of a journal reads. */
import { formatSize } from '../platform/size-text.ts';
import type {
  GroupReport,
  JournalReport,
  Problem,
  RecordReport,
  SegmentReport,
  SlotsReport,
} from '../journal/inspect-report.ts';
import { updatesWereText } from '../journal/update-text.ts';
import { colors, properties, table } from './texts.ts';

const heldText = 'a daemon has this data directory: what it is writing may look unfinished';

export function inspectText(report: JournalReport): string {
  const parts = report.groups.map((group) => groupText(group));
  if (report.groups.length === 0) parts.push(`${report.directory} has no groups`);
  if (report.heldByDaemon === true) parts.unshift(colors.yellow(`note: ${heldText}`));
  return parts.join('\n\n');
}

/** One line for each thing that is wrong, and a verdict. */
export function checkText(report: JournalReport): string {
  const lines = report.groups.flatMap((group) =>
    group.problems.map(
      (problem) => `${group.name ?? group.groupId ?? '?'}: ${problemText(problem)}`,
    ),
  );
  if (report.heldByDaemon === true) lines.unshift(colors.yellow(`note: ${heldText}`));
  const segments = report.groups.flatMap((group) => group.segments);
  const read = segments.filter(({ end }) => end !== 'not_read');
  const records = read.reduce((sum, segment) => sum + segment.records, 0);
  const what = `${count(records, 'record')} of ${count(read.length, 'segment')} in ${count(report.groups.length, 'group')}`;
  const problems = report.groups.flatMap((group) => group.problems);
  const damages = problems.filter(({ severity }) => severity === 'damage');
  const isDecided = problems.every(({ code }) => code !== 'undecided');
  const sound = isDecided ? colors.green('no damage') : colors.yellow('no damage that can be told');
  lines.push(
    damages.length === 0
      ? `${sound}: ${what}`
      : `${colors.red('damaged')}: ${count(damages.length, 'problem')}; read ${what}`,
  );
  return lines.join('\n');
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

function groupText(group: GroupReport): string {
  const { released, applied, durable, newest } = group.watermarks;
  const about: (readonly [string, string])[] = [
    ['group', group.name ?? 'not known'],
    ['id', group.groupId ?? 'not known'],
  ];
  if (group.directory !== null) about.push(['directory', group.directory]);
  if (group.catalog) {
    const { number, areaLayout, journalCapacityBytes } = group.catalog;
    about.push([
      'catalog',
      `up to update ${number}; ${areaLayout}, ${formatSize(journalCapacityBytes)}`,
    ]);
  }
  if (group.checkpoint) {
    const { value } = group.checkpoint;
    const text = value
      ? `applied ${value.applied}, released ${value.released}; segment ${value.sequence}, offset ${value.offset}`
      : 'none';
    about.push(['checkpoint', `${text} ${slotsText(group.checkpoint)}`]);
  }
  if (group.head) {
    const { value } = group.head;
    const text =
      value && value.sequence > 0
        ? `segment ${value.sequence} begins at ${value.firstNumber}, ${value.durable} was durable`
        : 'none';
    about.push(['head', `${text} ${slotsText(group.head)}`]);
  }
  about.push([
    'watermarks',
    `released ${released}, applied ${applied}, durable ${durable}, newest ${newest}`,
  ]);
  about.push(['numbers', rangesText(group)]);
  if (group.recovery) {
    const { lastNumber, damage } = group.recovery;
    const text = damage
      ? colors.red(
          `refuses: ${updatesWereText(damage.from, damage.through)} durable and cannot be read (${damage.text})`,
        )
      : `goes on behind ${lastNumber}`;
    about.push(['a start', text]);
  }
  for (const { path, state, slots, segmentsByState } of group.areas) {
    const states = Object.entries(segmentsByState).map(([name, number]) => `${number} ${name}`);
    about.push([
      'area',
      `${path}: ${state}, ${count(slots, 'segment')}${states.length > 0 ? `: ${states.join(', ')}` : ''}`,
    ]);
  }
  for (const { name, id, sizeBytes, allocatedBytes, state } of group.volumes) {
    about.push([
      'volume',
      `${name} (${id}): ${formatSize(sizeBytes)}, ${formatSize(allocatedBytes)} allocated, ${state}`,
    ]);
  }
  const shown = group.segments.filter(({ state }) => state !== 'blank');
  return [
    properties(about),
    ...(shown.length > 0 ? [table(segmentHead, shown.map(segmentLine))] : []),
    ...group.problems.map(problemText),
  ].join('\n');
}

function slotsText({ slots }: SlotsReport<unknown>): string {
  const texts = slots.map(({ state, counter }) => (counter === null ? state : String(counter)));
  return `(slots: ${texts.join(', ')})`;
}

function rangesText({ ranges }: GroupReport): string {
  return ranges.map(({ from, through }) => `${from}-${through}`).join(', ') || 'none';
}

const segmentHead = [
  'SEGMENT',
  'STATE',
  'NUMBERS',
  'RECORDS',
  'FROM',
  'TO',
  'USED',
  'END',
  'BEGINS',
  'INCARNATION',
  'FILE',
];

function segmentLine(segment: SegmentReport): string[] {
  const { header, numbers, times } = segment;
  const isEmpty =
    segment.end === 'not_read' || (segment.state === 'unused' && segment.end === 'unwritten');
  return [
    header ? String(header.sequence) : '-',
    segment.state === 'unreadable' ? colors.red(segment.state) : segment.state,
    numbers ? `${numbers.from}-${numbers.through}` : '-',
    String(segment.records),
    times ? new Date(times.first).toISOString() : '-',
    times ? new Date(times.last).toISOString() : '-',
    isEmpty ? '-' : formatSize(segment.usedBytes),
    isEmpty ? '-' : segment.end,
    header && header.firstNumber > 0 ? String(header.firstNumber) : '-',
    header ? header.incarnation.toString(16).padStart(12, '0') : '-',
    segment.path,
  ];
}

export function recordText(record: RecordReport): string {
  const { type, number, volume, volumeOffset, length, path, offset, isVoid } = record;
  const time = new Date(record.timeMilliseconds).toISOString();
  const what =
    type === 'write' || type === 'zero' || type === 'hole'
      ? `volume ${volume} at ${volumeOffset}, ${length} bytes`
      : type === 'catalog'
        ? `${length} bytes`
        : '';
  const name = isVoid ? `${type} (void)` : type;
  return [String(number ?? '-').padStart(12), time, name.padEnd(7), what, `${path}:${offset}`]
    .filter((part) => part !== '')
    .join('  ');
}

function problemText({ severity, code, message }: Problem): string {
  const paint = severity === 'damage' ? colors.red : colors.yellow;
  return `${paint(`${severity} ${code}`)}: ${message}`;
}
