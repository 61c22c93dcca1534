import { dirname } from 'node:path';
import type { Disk } from '../platform/disk.ts';
import { JnbdError, messageOf, systemErrorCode } from '../platform/errors.ts';
import { type Checkpoint, checkpointCodec } from './checkpoint.ts';
import { headCodec, type JournalHead } from './head.ts';
import {
  type CatalogContents,
  readArea,
  readCatalogFile,
  readSlots,
  readVolumes,
} from './inspect-files.ts';
import { type Expectations, judgeNumbers, type NumbersVerdict } from './inspect-numbers.ts';
import type {
  AreaReport,
  GroupReport,
  JournalReport,
  Problem,
  RecordReport,
  RecoveryReport,
  SegmentReport,
} from './inspect-report.ts';
import { type FoundFiles, findSegments, OpenSegment } from './inspect-segments.ts';
import { leaveUndecided } from './inspect-undecided.ts';
import { type SegmentWalk, walkSegment } from './inspect-walk.ts';
import type { RecordHeader } from './record.ts';
import { isNumbered, recordType } from './record.ts';
import { type FoundSegment, JournalScan } from './scan.ts';
import { segmentFilePattern } from './segment.ts';
import { SegmentReader } from './segment-reader.ts';

/** Called for each record that proves, in the order of the segments. */
export type RecordSink = (record: RecordReport) => void;

/**
 * Reads what stands in a data directory, a group's directory or a journal directory, proves every
 * record that is retained, and says what is wrong where. Takes no lock and writes nothing. Throws
 * group_not_found where there is no journal, format_newer, read_failed.
 */
export function inspectJournal(disk: Disk, directory: string, sink?: RecordSink): JournalReport {
  const first = readDirectory(disk, directory, sink);
  if (!first.damaged || first.heldByDaemon === false) return first;
  // A daemon writes and releases while it is read: what is damaged is so at a second look too.
  return confirmed(first, readDirectory(disk, directory));
}

/** As `inspectJournal`; what it finds damaged makes a check fail. */
export function checkJournal(disk: Disk, directory: string): JournalReport {
  return inspectJournal(disk, directory);
}

function readDirectory(disk: Disk, directory: string, sink?: RecordSink): JournalReport {
  try {
    return readAll(disk, directory, sink);
  } catch (error) {
    if (error instanceof JnbdError || systemErrorCode(error) === undefined) throw error;
    throw new JnbdError('read_failed', `cannot read ${directory}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function readAll(disk: Disk, directory: string, sink?: RecordSink): JournalReport {
  const groups: GroupReport[] = [];
  let heldByDaemon: boolean | null = null;
  if (!disk.isDirectorySync(directory)) {
    throw new JnbdError('group_not_found', `${directory} is not a directory`);
  }
  const names = disk.listSync(directory);
  if (names.includes('groups') && names.includes('jnbd.json')) {
    heldByDaemon = disk.isLockedSync(`${directory}/lock`);
    const parent = `${directory}/groups`;
    for (const name of disk.listSync(parent)) {
      if (disk.isDirectorySync(`${parent}/${name}`))
        groups.push(readGroup(disk, `${parent}/${name}`, sink));
    }
  } else {
    const group = groupDirectoryOf(disk, directory, names);
    if (group !== undefined) {
      const data = dirname(dirname(group));
      const isInPlace = disk.existsSync(`${data}/jnbd.json`);
      heldByDaemon = isInPlace ? disk.isLockedSync(`${data}/lock`) : null;
      groups.push(readGroup(disk, group, sink));
    } else if (names.some((name) => name === 'area' || segmentFilePattern.test(name))) {
      groups.push(readAreaAlone(disk, directory, sink));
    } else {
      throw new JnbdError(
        'group_not_found',
        `${directory} holds no journal; name a data directory, a group's directory in it, or a journal directory`,
      );
    }
  }
  const damaged = groups.some(({ problems }) => problems.some(isDamage));
  return { formatVersion: 1, directory, heldByDaemon, damaged, groups, problems: [] };
}

/** The group whose directory this is, or whose own journal directory. */
function groupDirectoryOf(
  disk: Disk,
  directory: string,
  names: readonly string[],
): string | undefined {
  const marks = ['catalog', 'checkpoint', 'head', 'unfinished'];
  if (marks.some((name) => names.includes(name))) return directory;
  const parent = dirname(directory);
  const isOwn = directory === `${parent}/journal` && disk.existsSync(`${parent}/catalog`);
  return isOwn ? parent : undefined;
}

function isDamage({ severity }: Problem): boolean {
  return severity === 'damage';
}

/** Of two reports of one journal the problems that are in both. */
function confirmed(first: JournalReport, second: JournalReport): JournalReport {
  const key = ({ code, path, offset, from }: Problem): string =>
    [code, path, offset, from].join(' ');
  const groups = second.groups.map((group, at): GroupReport => {
    const before = new Set(first.groups[at]?.problems.map(key));
    return { ...group, problems: group.problems.filter((problem) => before.has(key(problem))) };
  });
  const damaged = groups.some(({ problems }) => problems.some(isDamage));
  return { ...second, groups, damaged };
}

interface Truths {
  readonly directory: string;
  readonly catalog: CatalogContents | undefined;
  readonly checkpoint: Checkpoint | null;
  readonly head: JournalHead | null;
}

function readGroup(disk: Disk, directory: string, sink: RecordSink | undefined): GroupReport {
  const problems: Problem[] = [];
  const path = `${directory}/catalog`;
  let catalog = readCatalogFile(disk, path, problems);
  if (!catalog && !disk.existsSync(path)) {
    catalog = readCatalogFile(disk, `${directory}/unfinished`, problems);
    problems.push(
      catalog
        ? {
            severity: 'warning',
            code: 'group_unfinished',
            message: `${directory} is left of a group that was being made or deleted; a start takes it away`,
            path: directory,
          }
        : { severity: 'damage', code: 'catalog_missing', message: `${path} is missing`, path },
    );
  }
  const groupId = catalog?.groupId;
  const checkpoint = readSlots(disk, `${directory}/checkpoint`, checkpointCodec, groupId, problems);
  const head = readSlots(disk, `${directory}/head`, headCodec, groupId, problems);
  const truths = { directory, catalog, checkpoint: checkpoint.value, head: head.value };
  const areas = (catalog?.areas ?? [{ areaId: undefined, path: 'journal' }]).map((area) => ({
    path: area.path.startsWith('/') ? area.path : `${directory}/${area.path}`,
    areaId: area.areaId,
  }));
  const contents = readSegments(disk, areas, truths, sink, problems);
  return {
    name: catalog?.name ?? null,
    groupId: groupId ?? checkpoint.value?.groupId ?? null,
    directory,
    catalog: catalog
      ? {
          path,
          number: catalog.number,
          areaLayout: catalog.areaLayout,
          journalCapacityBytes: catalog.journalCapacityBytes,
        }
      : null,
    checkpoint,
    head,
    volumes: catalog ? readVolumes(disk, directory, catalog, problems) : [],
    ...contents,
    problems,
  };
}

/** A journal directory whose group's directory is elsewhere. */
function readAreaAlone(disk: Disk, path: string, sink: RecordSink | undefined): GroupReport {
  const problems: Problem[] = [];
  const truths = { directory: '', catalog: undefined, checkpoint: null, head: null };
  const contents = readSegments(disk, [{ path, areaId: undefined }], truths, sink, problems);
  return {
    name: null,
    groupId: contents.areas[0]?.identity?.groupId ?? null,
    directory: null,
    catalog: null,
    checkpoint: null,
    head: null,
    volumes: [],
    ...contents,
    problems,
  };
}

type Contents = Pick<GroupReport, 'areas' | 'segments' | 'watermarks' | 'ranges' | 'recovery'>;

function readSegments(
  disk: Disk,
  places: readonly { readonly path: string; readonly areaId: string | undefined }[],
  truths: Truths,
  sink: RecordSink | undefined,
  problems: Problem[],
): Contents {
  const { catalog, checkpoint, head } = truths;
  const open = new OpenSegment(disk);
  const groupId = catalog?.groupId ?? checkpoint?.groupId;
  const found = places.map(({ path, areaId }) => {
    const expected =
      catalog && areaId !== undefined ? { groupId: catalog.groupId, areaId } : undefined;
    const area = readArea(disk, path, expected, problems);
    const isReadable = area.state === 'ok' || area.state === 'unreadable';
    const empty: FoundFiles = { slots: 0, segments: [], blank: [], unreadable: [] };
    const owner = groupId ?? area.identity?.groupId;
    return { area, files: isReadable ? findSegments(disk, open, path, owner, problems) : empty };
  });
  const segments = found
    .flatMap(({ files }) => files.segments)
    .sort((a, b) => a.header.sequence - b.header.sequence);
  const isHeld = catalog?.volumes.some(({ journalOnly }) => journalOnly) ?? true;
  const applied = checkpoint?.applied ?? 0;
  const released = checkpoint?.released ?? 0;
  const reader = new SegmentReader(disk);
  const retained = retainedSegments(reader, segments, checkpoint, released);
  const walks = retained.map((segment) => {
    const end = voidFrom(segments, segment);
    return walkSegment(reader, segment, (...seen) => sink?.(recordReport(...seen, end)));
  });
  const expected: Expectations = {
    isWhole: checkpoint !== null,
    released,
    neededAfter: isHeld ? released : applied,
    durable: Math.max(applied, head?.durable ?? 0, ...retained.map(({ header }) => header.durable)),
    checkpointSequence: checkpoint && (head?.durable ?? applied) > 0 ? checkpoint.sequence : 0,
  };
  const verdict = judgeNumbers(walks, expected);
  problems.push(...(expected.isWhole ? verdict.problems : leaveUndecided(verdict.problems, walks)));
  const recovery = checkpoint && head ? recover(disk, segments, checkpoint, head, problems) : null;
  open.close();
  const reports = segmentReports(
    found.map(({ files }) => files),
    walks,
    verdict,
    checkpoint,
  );
  return {
    areas: found.map(
      ({ area, files }): AreaReport => ({
        ...area,
        slots: files.slots,
        segmentsByState: countStates(reports, area.path),
      }),
    ),
    segments: reports,
    ranges: verdict.ranges,
    recovery,
    watermarks: {
      released,
      applied,
      durable: verdict.durable,
      newest: recovery?.lastNumber ?? verdict.ranges.at(-1)?.through ?? 0,
    },
  };
}

/** Those that may hold a number after `released`; all where it is not known what was released. */
function retainedSegments(
  reader: SegmentReader,
  segments: readonly FoundSegment[],
  checkpoint: Checkpoint | null,
  released: number,
): FoundSegment[] {
  if (!checkpoint) return [...segments];
  let last = checkpoint.applied;
  let from = segments.length;
  for (; from > 0; from -= 1) {
    const segment = segments[from - 1];
    if (!segment || (segment.header.sequence < checkpoint.sequence && last <= released)) break;
    if (segment.header.sequence > checkpoint.sequence) continue;
    reader.open(segment.file);
    const first = reader.firstNumber(released, segment.header.salt);
    if (first > 0) last = Math.min(last, first - 1);
  }
  return segments.slice(from);
}

function voidFrom(segments: readonly FoundSegment[], segment: FoundSegment): number {
  const later = segments
    .slice(segments.indexOf(segment) + 1)
    .map(({ header }) => header.firstNumber);
  return Math.min(Number.POSITIVE_INFINITY, ...later.filter((first) => first > 0));
}

/** What a start would make of it, by what a start does. */
function recover(
  disk: Disk,
  segments: readonly FoundSegment[],
  { applied, sequence, offset }: Checkpoint,
  head: JournalHead,
  problems: Problem[],
): RecoveryReport {
  const relevant = segments.filter(({ header }) => header.sequence >= sequence);
  const scan = new JournalScan(disk, relevant, { number: applied, sequence, offset }, head.durable);
  scan.run({ record: () => undefined });
  const { lastNumber, damage } = scan.outcome();
  if (damage && !problems.some((problem) => problem.from !== undefined && isDamage(problem))) {
    const { from, through, text } = damage;
    problems.push({ severity: 'damage', code: 'numbers_missing', message: text, from, through });
  }
  return { lastNumber, damage: damage ?? null };
}

function segmentReports(
  files: readonly FoundFiles[],
  walks: readonly SegmentWalk[],
  verdict: NumbersVerdict,
  checkpoint: Checkpoint | null,
): SegmentReport[] {
  const nothing = {
    numbers: null,
    records: 0,
    times: null,
    usedBytes: 0,
    end: 'not_read',
  } as const;
  const walked = new Map(walks.map((walk, at) => [walk.segment.path, at]));
  const reports = files
    .flatMap(({ segments }) => segments)
    .sort((a, b) => a.header.sequence - b.header.sequence)
    .map(({ path, header: { salt: _salt, groupId: _groupId, ...header } }): SegmentReport => {
      const at = walked.get(path);
      const walk = at === undefined ? undefined : walks[at];
      if (at === undefined || !walk) return { ...nothing, path, header, state: 'free' };
      const numbers = verdict.counted[at] ?? null;
      const isCheckpoints = header.sequence === checkpoint?.sequence;
      const empty = walk.records > 0 ? 'void' : 'unused';
      return {
        path,
        header,
        state: numbers || isCheckpoints ? 'live' : empty,
        numbers,
        records: walk.records,
        times: walk.records > 0 ? { first: walk.firstTime, last: walk.lastTime } : null,
        usedBytes: walk.end,
        end: walk.endsWith,
      };
    });
  for (const { blank, unreadable } of files) {
    for (const path of blank) reports.push({ ...nothing, path, header: null, state: 'blank' });
    for (const path of unreadable)
      reports.push({ ...nothing, path, header: null, state: 'unreadable' });
  }
  return reports;
}

function countStates(reports: readonly SegmentReport[], directory: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { path, state } of reports) {
    if (dirname(path) === directory) counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
}

const typeNames = new Map(
  Object.entries(recordType).map(([name, type]) => [type as number, name as RecordReport['type']]),
);

function recordReport(
  segment: FoundSegment,
  header: RecordHeader,
  offset: number,
  voidFromNumber: number,
): RecordReport {
  const isCounted = isNumbered(header.type);
  return {
    path: segment.path,
    offset,
    type: typeNames.get(header.type) ?? 'pad',
    number: header.type === recordType.pad ? null : header.number,
    volume: header.volume,
    volumeOffset: header.offset,
    length: header.length,
    timeMilliseconds: segment.header.timeBaseMilliseconds + header.timeMilliseconds,
    isVoid: isCounted && header.number >= voidFromNumber,
  };
}
