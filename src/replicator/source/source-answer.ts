import { decodeHeader, emptyRecordHeader, isNumbered } from '../../journal/record.ts';
import { segmentHeaderBytes } from '../../platform/limits.ts';
import type { SourceJournal } from './source-journal.ts';
import type { RecordsEnd } from './source-records.ts';
import type { JournalAnswer, JournalRead } from '../protocol/wire.ts';

/** What the head of an answer says of a journal whose records up to `records.through` are in it. */
export function journalAnswer(
  journal: SourceJournal,
  { position }: Pick<JournalRead, 'position'>,
  records: RecordsEnd,
  wallMilliseconds: number,
  systemId: number,
): JournalAnswer {
  const { watermarks, usedBytes, capacityBytes, servable } = journal;
  const { through } = records;
  const isDone = through >= watermarks.newest;
  const next = isDone ? undefined : behind(journal, records);
  const oldestUnsentMilliseconds =
    next && through < servable
      ? ageOf(journal, next, wallMilliseconds)
      : journal.undurableMilliseconds;
  return {
    first: position.number + 1,
    through: through > position.number ? journal.positionOf(through) : position,
    watermarks,
    usedBytes,
    capacityBytes,
    timeMilliseconds: Math.max(0, Math.floor(wallMilliseconds)),
    unsentBytes: next ? journal.bytesBehind(through, next.offset) : 0,
    path: journal.picture.path,
    oldestUnsentMilliseconds: isDone ? 0 : Math.max(0, Math.floor(oldestUnsentMilliseconds)),
    members: journal.members,
    synchronous: journal.synchronousFor(systemId),
  };
}

/** Where the record behind the last one stands, or something unnumbered before it, as far as is known. */
function behind(
  journal: SourceJournal,
  { through, segment, offset }: RecordsEnd,
): { readonly path: string; readonly base: number; readonly offset: number } | undefined {
  const place = journal.placeOf(through + 1)?.segment;
  if (!place) return undefined;
  const { path, timeBaseMilliseconds: base } = place.place;
  if (place === segment) return { path, base, offset };
  return { path, base, offset: place.offsetOf(through + 1) ?? segmentHeaderBytes };
}

/** A few headers: marks and pads stand between records. */
const peekBytes = 256;
const peek = Buffer.alloc(peekBytes);
const peekView = new DataView(peek.buffer, peek.byteOffset, peekBytes);
const header = emptyRecordHeader();

/** 0 where that would have to be read from the device, or cannot be: it is for people. */
function ageOf(
  { files }: SourceJournal,
  { path, base, offset }: { readonly path: string; readonly base: number; readonly offset: number },
  wallMilliseconds: number,
): number {
  let count = 0;
  try {
    count = files.readIfCached(path, 'segment', peek, 0, peekBytes, offset);
  } catch {
    return 0;
  }
  for (let at = 0; at < count; at += header.headerBytes + header.payloadBytes) {
    if (decodeHeader(peekView, at, count, header) !== 'header') return 0;
    if (isNumbered(header.type)) return wallMilliseconds - base - header.timeMilliseconds;
  }
  return 0;
}
