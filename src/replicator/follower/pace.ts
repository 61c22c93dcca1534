/**
 * Decides when a follower reads its source's journal again, how much it asks for, how long the source
 * may wait for something new, and how much of the time apply may work. Pure: the same settings,
 * measures and situation give the same decision.
 *
 * An input that is not selected decides nothing, with one exception: the own journal's room bounds
 * every read, because what finds no room is dropped and has to be read again.
 */
import { assert } from '../../platform/assert.ts';
import { paceBatchBytesMax, paceBatchBytesMin, MiB } from '../../platform/limits.ts';
import { type PaceInput, paceInputs, type PaceSettings } from '../../platform/pace-settings.ts';
import type { PaceMeasures } from './pace-measures.ts';

/**
 * Which input decided. `none`: nothing holds the next read back. `nothing-new`: nor is there anything
 * to read yet, as far as is known. `source-journal`: others would have waited, but it did not let them.
 */
export type PaceLimit = 'none' | 'nothing-new' | 'interval' | PaceInput;

/** What is taken, of what there is. History that gives way when space is needed does not count. */
export interface JournalFill {
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

/** What the last answer told of the source. */
export interface SourceSituation {
  readonly fill: JournalFill;
  readonly released: number;
  readonly durable: number;
}

export interface PaceSituation {
  readonly nowMilliseconds: number;
  /** The last number that the follower has or has asked for. */
  readonly position: number;
  /** Up to here the source was told that records are applied. */
  readonly toldApplied: number;
  readonly link: {
    /** `undefined` while nobody knows. */
    readonly bytesPerMillisecond: number | undefined;
    readonly roundTripMilliseconds: number;
    /** Announced, and not here yet. */
    readonly inFlightBytes: number;
  };
  readonly ownJournal: JournalFill;
  /** What there is memory for: a batch is never more. */
  readonly receiveBytesMax: number;
  readonly ownLoad: {
    /** How late the event loop is, at its worst of late. */
    readonly eventLoopDelayMilliseconds: number;
    /** How much of the processors is in use, 0 to 1. */
    readonly processorShare: number;
  };
  /** `undefined` before the first answer. */
  readonly source: SourceSituation | undefined;
}

export interface PaceDecision {
  /** Monotonic; not before `nowMilliseconds`, which means at once. */
  readonly readAtMilliseconds: number;
  readonly batchBytes: number;
  /** How long the source may wait for something new before it answers that there is nothing. */
  readonly waitMilliseconds: number;
  /** How much of the time apply may work: 1 is all of it. */
  readonly applyShare: number;
  readonly limitedBy: PaceLimit;
}

/** Bounds that hold whatever the inputs say; an interval is its own bound. */
export const pauseMillisecondsMax = 1000;
/** A read that finds nothing new is answered after so long: by that both sides hear that the other one is there. */
export const longPollMilliseconds = 3000;
export const applyShareMin = 0.25;

/** So little is not worth a read of its own, unless this much time has passed. */
const gatherBytes = 1 * MiB;
const gatherRecords = 1024;
const gatherMillisecondsMax = 50;
const leftHigh = [gatherBytes / 4, gatherBytes] as const;
/** A batch is what the link carries in this time, and is asked for while less than twice that is on its way. */
const batchMilliseconds = 250;
const aheadMilliseconds = 2 * batchMilliseconds;
/** Fewer and larger reads cost less. They still bring 80 MiB a second: apply can wait, and what is not received cannot be saved. */
const loadPauseMilliseconds = 200;
/** What is not told to be applied is told soon, though nothing new comes. */
const tellMilliseconds = 250;
/** From here on a journal's fill matters, and there it is all that matters. */
const ownFillHigh = [0.7, 0.95] as const;
const ownFillHasRoom = 0.9;
const ownFillApply = [0.5, 0.8] as const;
/** When others hold back what fills the source's journal, and when it is this follower alone. */
const sourceFillHigh = [0.5, 0.8] as const;
const sourceFillHighOurs = [0.2, 0.5] as const;
const eventLoopDelayHigh = [10, 100] as const;
const processorShareHigh = [0.75, 1] as const;

/** For how long a follower that is well may ask for nothing. */
export function quietMillisecondsMax({ pace }: PaceSettings): number {
  return pace.mode === 'interval' ? pace.intervalMilliseconds : pauseMillisecondsMax;
}

/** 0 up to the first bound, 1 from the second one on. */
function ramp(value: number, [low, high]: readonly [number, number]): number {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

function mix(from: number, to: number, share: number): number {
  return from + (to - from) * share;
}

/** What the decision is made of, once. */
interface View {
  readonly settings: PaceSettings;
  readonly measures: PaceMeasures;
  readonly situation: PaceSituation;
  /** With what is on its way. */
  readonly ownFill: number;
  readonly roomBytes: number;
  readonly hasRoom: boolean;
  /** 0 to 1. */
  readonly load: number;
  /** How much the source's journal wants to be read, 0 to 1; 0 where it is not selected. */
  readonly urgency: number;
  /** What the last answer left behind, by the records of late. */
  readonly leftBytes: number;
}

export function decidePace(
  settings: PaceSettings,
  measures: PaceMeasures,
  situation: PaceSituation,
): PaceDecision {
  const view = viewOf(settings, measures, situation);
  const pause = pauseOf(view);
  const batch = batchOf(view);
  const { nowMilliseconds, source, position } = situation;
  const isWaiting = pause.untilMilliseconds > nowMilliseconds;
  const isNothingNew = source !== undefined && source.durable <= position;
  let limitedBy: PaceLimit = 'none';
  if (isWaiting) limitedBy = pause.limitedBy;
  else if (isNothingNew) limitedBy = 'nothing-new';
  else if (pause.isHurried) limitedBy = 'source-journal';
  else limitedBy = batch.limitedBy;
  return {
    readAtMilliseconds: Math.max(nowMilliseconds, pause.untilMilliseconds),
    batchBytes: batch.bytes,
    waitMilliseconds: waitOf(view),
    applyShare: applyShareOf(view),
    limitedBy,
  };
}

function viewOf(settings: PaceSettings, measures: PaceMeasures, situation: PaceSituation): View {
  const { ownJournal, link, ownLoad, source } = situation;
  assert(ownJournal.capacityBytes > 0, 'a journal has a capacity');
  const taken = ownJournal.usedBytes + link.inFlightBytes;
  const roomBytes = Math.max(0, ownJournal.capacityBytes - taken);
  const ownFill = taken / ownJournal.capacityBytes;
  return {
    settings,
    measures,
    situation,
    ownFill,
    roomBytes,
    hasRoom: hasRoom(situation),
    load: Math.max(
      ramp(ownLoad.eventLoopDelayMilliseconds, eventLoopDelayHigh),
      ramp(ownLoad.processorShare, processorShareHigh),
    ),
    urgency:
      source && selects(settings, 'source-journal') ? urgencyOf(source, situation.position) : 0,
    leftBytes: leftBytesOf(measures, situation),
  };
}

/** The more of what the source keeps is kept for this follower, the sooner it hurries. */
function urgencyOf({ fill, released, durable }: SourceSituation, position: number): number {
  if (fill.capacityBytes <= 0) return 0;
  const left = Math.max(0, durable - Math.max(released, position));
  const share = left === 0 ? 0 : left / (durable - released);
  const [low, high] = sourceFillHigh;
  const [lowOurs, highOurs] = sourceFillHighOurs;
  const bounds = [mix(low, lowOurs, share), mix(high, highOurs, share)] as const;
  return ramp(fill.usedBytes / fill.capacityBytes, bounds);
}

function leftBytesOf(measures: PaceMeasures, { source, position }: PaceSituation): number {
  if (source === undefined || measures.broughtNothing || source.durable <= position) return 0;
  if (measures.records === 0) return Number.POSITIVE_INFINITY;
  return (source.durable - position) * (measures.bytes / measures.records);
}

/** Whether the own journal takes what a source that is nearly full wants to get rid of. */
export function hasRoom({ ownJournal, link }: PaceSituation): boolean {
  const taken = ownJournal.usedBytes + link.inFlightBytes;
  const room = ownJournal.capacityBytes - taken;
  return taken < ownJournal.capacityBytes * ownFillHasRoom && room >= paceBatchBytesMin;
}

function selects({ pace }: PaceSettings, input: PaceInput): boolean {
  return pace.mode === 'adaptive' && pace.inputs.includes(input);
}

interface Pause {
  readonly untilMilliseconds: number;
  readonly limitedBy: PaceLimit;
  /** It would be longer, were it not for the source's journal. */
  readonly isHurried: boolean;
}

/**
 * Pauses count from the start of the last read, not from now: however often one asks, their end comes
 * nearer.
 */
function pauseOf(view: View): Pause {
  const { settings, measures, situation, roomBytes } = view;
  const { nowMilliseconds: now } = situation;
  const start = measures.lastStartMilliseconds;
  if (start === undefined) return { untilMilliseconds: now, limitedBy: 'none', isHurried: false };
  const demands: [PaceInput | 'interval', milliseconds: number][] = [];
  if (roomBytes < paceBatchBytesMin) demands.push(['own-journal', pauseMillisecondsMax]);
  if (settings.pace.mode === 'interval' && view.leftBytes < paceBatchBytesMin) {
    demands.push(['interval', settings.pace.intervalMilliseconds]);
  }
  let isHurried = false;
  const demand = (input: PaceInput, milliseconds: number): void => {
    if (!selects(settings, input) || milliseconds <= 0) return;
    const isYielding = input !== 'own-journal' || view.hasRoom;
    const left = isYielding ? milliseconds * (1 - view.urgency) : milliseconds;
    if (left < milliseconds && start + milliseconds > now) isHurried = true;
    demands.push([input, Math.min(pauseMillisecondsMax, left)]);
  };
  demand('records', gatherPause(view));
  demand('link', linkPause(view, now - start));
  demand('own-journal', pauseMillisecondsMax * ramp(view.ownFill, ownFillHigh) ** 2);
  demand('own-load', loadPauseMilliseconds * view.load ** 2);
  let [limitedBy, longest]: [PaceLimit, number] = ['none', 0];
  for (const [input, milliseconds] of demands) {
    if (milliseconds > longest) [limitedBy, longest] = [input, milliseconds];
  }
  return { untilMilliseconds: start + longest, limitedBy, isHurried };
}

/** Until a read is worth its cost at the rate of late. What is known to be there is not waited for. */
function gatherPause({ measures, leftBytes }: View): number {
  const { broughtNothing, bytes, records, spanMilliseconds } = measures;
  if (broughtNothing || spanMilliseconds === 0) return 0;
  const pause = Math.min(
    gatherMillisecondsMax,
    (gatherBytes / bytes) * spanMilliseconds,
    records === 0 ? gatherMillisecondsMax : (gatherRecords / records) * spanMilliseconds,
  );
  return pause * (1 - ramp(leftBytes, leftHigh));
}

/** Until what is on its way is nearly here: asking for more would only make it wait in the link. */
function linkPause({ situation }: View, sinceStartMilliseconds: number): number {
  const { bytesPerMillisecond, inFlightBytes, roundTripMilliseconds } = situation.link;
  if (bytesPerMillisecond === undefined || bytesPerMillisecond <= 0) return 0;
  const over = inFlightBytes / bytesPerMillisecond - aheadMilliseconds - 2 * roundTripMilliseconds;
  return over <= 0 ? 0 : Math.min(pauseMillisecondsMax, sinceStartMilliseconds + over);
}

interface Batch {
  readonly bytes: number;
  readonly limitedBy: PaceLimit;
}

/**
 * A batch that adapts goes by what an adaptive pace goes by, and by everything under another pace; but
 * a read that comes at an interval is to bring all there is, whatever the last one brought.
 */
function batchOf(view: View): Batch {
  const { settings, measures, situation, roomBytes, urgency } = view;
  const { pace } = settings;
  const inputs = pace.mode === 'adaptive' ? pace.inputs : paceInputs;
  let bytes: number = paceBatchBytesMax;
  let limitedBy: PaceLimit = 'none';
  const limit = (input: PaceInput, most: number): void => {
    if (most >= bytes) return;
    bytes = most;
    // How much came of late says what is worth asking for, and holds nothing back.
    limitedBy = input === 'records' ? 'none' : input;
  };
  if (settings.batchSize === 'adaptive') {
    const adapts = (input: PaceInput) => inputs.includes(input);
    if (adapts('records') && pace.mode !== 'interval') {
      limit('records', mix(measures.batchBytes, paceBatchBytesMax, urgency));
    }
    const { bytesPerMillisecond = Number.POSITIVE_INFINITY } = situation.link;
    if (adapts('link')) limit('link', bytesPerMillisecond * batchMilliseconds);
    if (adapts('own-journal')) limit('own-journal', roomBytes / 4);
  } else {
    bytes = settings.batchSize;
  }
  limit('own-journal', roomBytes);
  bytes = Math.min(bytes, situation.receiveBytesMax);
  return { bytes: Math.max(paceBatchBytesMin, Math.floor(bytes)), limitedBy };
}

function waitOf({ settings, situation, roomBytes }: View): number {
  if (settings.pace.mode === 'interval' || roomBytes < paceBatchBytesMin) return 0;
  return situation.toldApplied < situation.position ? tellMilliseconds : longPollMilliseconds;
}

/** Load holds apply back, but never so far that the own journal fills because of it. */
function applyShareOf({ settings, load, ownFill }: View): number {
  const share = selects(settings, 'own-load') ? mix(1, applyShareMin, load) : 1;
  return mix(share, 1, ramp(ownFill, ownFillApply));
}
