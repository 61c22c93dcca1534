import type { PaceSettings } from '../../../src/platform/pace-settings.ts';
import { LinkMeter } from '../../../src/replicator/follower/link-meter.ts';
import { decidePace, type PaceSituation } from '../../../src/replicator/follower/pace.ts';
import { noMeasures, noteRead, noteStart } from '../../../src/replicator/follower/pace-measures.ts';

const recordBytes = 4096;

/** A host, a source, a link and a follower's journal, as far as the pace is concerned. */
export interface Course {
  /** Records there before the host begins. */
  readonly backlog?: number;
  /** Records a host writes in a millisecond. */
  readonly recordsPerMillisecond: (nowMilliseconds: number) => number;
  readonly linkBytesPerMillisecond: number;
  readonly roundTripMilliseconds: number;
  readonly applyRecordsPerMillisecond: (nowMilliseconds: number) => number;
  readonly sourceCapacityBytes: number;
  readonly ownCapacityBytes: number;
  readonly eventLoopDelayMilliseconds: number;
  readonly milliseconds: number;
}

export interface Outcome {
  readonly reads: number;
  readonly records: number;
  /** Of the oldest record that the follower did not have, at its worst. */
  readonly lagMilliseconds: number;
  readonly ownUsedBytesMax: number;
  readonly sourceUsedBytesMax: number;
  /** When the follower had all there was for the first time. */
  readonly caughtUpAtMilliseconds: number | undefined;
  /** How often each input decided. */
  readonly limits: ReadonlyMap<string, number>;
}

/** Runs a follower with one connection over the course, in steps of a tenth of a millisecond. */
export function follow(settings: PaceSettings, course: Course): Outcome {
  const step = 0.1;
  const meter = new LinkMeter();
  const limits = new Map<string, number>();
  let measures = noMeasures;
  let written = course.backlog ?? 0;
  let received = 0;
  let applied = 0;
  let reads = 0;
  let lagMilliseconds = 0;
  let ownUsedBytesMax = 0;
  let sourceUsedBytesMax = 0;
  let caughtUpAtMilliseconds: number | undefined;
  /** When which record was written, of those that are not received. */
  const unreceived: { number: number; at: number }[] = [];
  let source: PaceSituation['source'];
  let read:
    | {
        phase: 'asked' | 'arriving';
        startedAt: number;
        askedBytes: number;
        waitUntil: number;
        through: number;
        endsAt: number;
      }
    | undefined;
  let applyShare = 1;
  /** A source keeps what its follower does not have. */
  const sourceFill = () => (written - received) * recordBytes;
  for (let now = 0; now < course.milliseconds; now += step) {
    const before = Math.floor(written);
    written += course.recordsPerMillisecond(now) * step;
    if (Math.floor(written) > before) unreceived.push({ number: Math.floor(written), at: now });
    const room = Math.floor(received) - applied;
    applied += Math.min(room, course.applyRecordsPerMillisecond(now) * step * applyShare);
    const situation: PaceSituation = {
      nowMilliseconds: now,
      position: read?.through ?? received,
      toldApplied: received,
      link: {
        bytesPerMillisecond: meter.bytesPerMillisecond,
        roundTripMilliseconds: course.roundTripMilliseconds,
        inFlightBytes: meter.inFlightBytes,
      },
      ownJournal: {
        usedBytes: (received - applied) * recordBytes,
        capacityBytes: course.ownCapacityBytes,
      },
      receiveBytesMax: 64 * 2 ** 20,
      ownLoad: {
        eventLoopDelayMilliseconds: course.eventLoopDelayMilliseconds,
        processorShare: 0,
      },
      source,
    };
    if (!read) {
      const decision = decidePace(settings, measures, situation);
      ({ applyShare } = decision);
      limits.set(decision.limitedBy, (limits.get(decision.limitedBy) ?? 0) + 1);
      if (decision.readAtMilliseconds > now) continue;
      measures = noteStart(measures, now);
      reads += 1;
      read = {
        phase: 'asked',
        startedAt: now,
        askedBytes: decision.batchBytes,
        waitUntil: now + course.roundTripMilliseconds + decision.waitMilliseconds,
        through: received,
        endsAt: 0,
      };
    }
    const there = Math.floor(written) - received;
    if (read.phase === 'asked' && now >= read.startedAt + course.roundTripMilliseconds) {
      if (there === 0 && now < read.waitUntil) continue;
      const count = Math.min(there, Math.floor(read.askedBytes / recordBytes));
      read.phase = 'arriving';
      read.through = received + count;
      read.endsAt = now + (count * recordBytes) / course.linkBytesPerMillisecond;
      source = {
        fill: { usedBytes: sourceFill(), capacityBytes: course.sourceCapacityBytes },
        released: received,
        durable: Math.floor(written),
      };
    }
    if (read.phase === 'arriving' && now >= read.endsAt) {
      const bytes = (read.through - received) * recordBytes;
      const body = meter.begin(bytes, now - bytes / course.linkBytesPerMillisecond);
      body.received(bytes, now);
      body.end(now);
      measures = noteRead(measures, {
        startedAtMilliseconds: read.startedAt,
        endedAtMilliseconds: now,
        askedBytes: read.askedBytes,
        bytes,
        records: read.through - received,
      });
      received = read.through;
      while (unreceived[0] && unreceived[0].number <= received) unreceived.shift();
      if (received === Math.floor(written)) caughtUpAtMilliseconds ??= now;
      read = undefined;
    }
    lagMilliseconds = Math.max(lagMilliseconds, now - (unreceived[0]?.at ?? now));
    ownUsedBytesMax = Math.max(ownUsedBytesMax, (received - applied) * recordBytes);
    sourceUsedBytesMax = Math.max(sourceUsedBytesMax, sourceFill());
  }
  return {
    reads,
    records: received,
    lagMilliseconds,
    ownUsedBytesMax,
    sourceUsedBytesMax,
    caughtUpAtMilliseconds,
    limits,
  };
}
