import fc from 'fast-check';
import { paceBatchBytesMax, paceBatchBytesMin } from '../../../src/platform/limits.ts';
import {
  type Pace,
  type PaceInput,
  paceInputs,
  type PaceSettings,
  parseBatchSize,
  parsePace,
} from '../../../src/platform/pace-settings.ts';
import type { PaceSituation } from '../../../src/replicator/follower/pace.ts';
import { noMeasures, type PaceMeasures } from '../../../src/replicator/follower/pace-measures.ts';

export const MiB = 2 ** 20;
export const GiB = 2 ** 30;
export const now = 1_000_000;

export function settings(pace: string, batchSize = 'adaptive'): PaceSettings {
  return { pace: parsePace(pace), batchSize: parseBatchSize(batchSize) };
}

/** An idle system and an empty journal that has all there is; the last answer was here a moment ago. */
export function calm(changes: Partial<PaceSituation> = {}): PaceSituation {
  return {
    nowMilliseconds: now,
    position: 1000,
    toldApplied: 1000,
    link: { bytesPerMillisecond: undefined, roundTripMilliseconds: 0, inFlightBytes: 0 },
    ownJournal: { usedBytes: 0, capacityBytes: GiB },
    receiveBytesMax: 64 * MiB,
    ownLoad: { eventLoopDelayMilliseconds: 0, processorShare: 0 },
    source: {
      fill: { usedBytes: 0, capacityBytes: GiB },
      released: 900,
      durable: 1000,
    },
    ...changes,
  };
}

/** A read began just now, and before it 4 KiB came every millisecond, 200 records a read. */
export function steady(changes: Partial<PaceMeasures> = {}): PaceMeasures {
  return {
    ...noMeasures,
    lastStartMilliseconds: now,
    lastEndMilliseconds: now,
    bytes: 800 * 4096,
    records: 800,
    spanMilliseconds: 800,
    ...changes,
  };
}

export const anyInputs: fc.Arbitrary<PaceInput[]> = fc.subarray([...paceInputs], { minLength: 1 });

export const anyPace: fc.Arbitrary<Pace> = fc.oneof(
  fc.constant<Pace>({ mode: 'immediate' }),
  fc
    .integer({ min: 10, max: 86_400_000 })
    .map((intervalMilliseconds): Pace => ({ mode: 'interval', intervalMilliseconds })),
  anyInputs.map((inputs): Pace => ({ mode: 'adaptive', inputs })),
);

export const anySettings: fc.Arbitrary<PaceSettings> = fc.record({
  pace: anyPace,
  batchSize: fc.oneof(
    fc.constant<'adaptive'>('adaptive'),
    fc.integer({ min: paceBatchBytesMin, max: paceBatchBytesMax }),
  ),
});

export const adaptiveSettings: fc.Arbitrary<PaceSettings> = anyInputs.map((inputs) => {
  return { pace: { mode: 'adaptive', inputs }, batchSize: 'adaptive' };
});

const share = fc.double({ min: 0, max: 1, noNaN: true });
const fill = fc
  .record({ capacityBytes: fc.integer({ min: 64 * MiB, max: 64 * GiB }), share })
  .map((each) => ({
    capacityBytes: each.capacityBytes,
    usedBytes: Math.floor(each.capacityBytes * each.share),
  }));

export const anyMeasures: fc.Arbitrary<PaceMeasures> = fc
  .record({
    ago: fc.option(fc.nat(5000), { nil: undefined }),
    bytes: fc.integer({ min: 1, max: paceBatchBytesMax * 4 }),
    records: fc.nat(100_000),
    spanMilliseconds: fc.integer({ min: 1, max: 800 }),
    broughtNothing: fc.boolean(),
    batchBytes: fc.integer({ min: paceBatchBytesMin, max: paceBatchBytesMax }),
  })
  .map(({ ago, ...each }) => ({
    ...each,
    lastStartMilliseconds: ago === undefined ? undefined : now - ago,
    lastEndMilliseconds: ago === undefined ? undefined : now - ago / 2,
  }));

export const anySituation: fc.Arbitrary<PaceSituation> = fc
  .record({
    released: fc.nat(10_000),
    ahead: fc.nat(1_000_000),
    // Often nothing, which chance would hardly find.
    behind: fc.oneof(
      { weight: 1, arbitrary: fc.constant(0) },
      { weight: 4, arbitrary: fc.nat(1_000_000) },
    ),
    told: fc.nat(100),
    bytesPerMillisecond: fc.option(fc.double({ min: 0.01, max: 1e7, noNaN: true }), {
      nil: undefined,
    }),
    roundTripMilliseconds: fc.nat(500),
    inFlightBytes: fc.nat(64 * MiB),
    ownJournal: fill,
    receiveBytesMax: fc.integer({ min: paceBatchBytesMin, max: 64 * MiB }),
    eventLoopDelayMilliseconds: fc.double({ min: 0, max: 2000, noNaN: true }),
    processorShare: share,
    sourceFill: fill,
    isSourceKnown: fc.boolean(),
  })
  .map((each) => {
    const position = each.released + each.ahead;
    return {
      nowMilliseconds: now,
      position,
      toldApplied: position - Math.min(position, each.told),
      link: {
        bytesPerMillisecond: each.bytesPerMillisecond,
        roundTripMilliseconds: each.roundTripMilliseconds,
        inFlightBytes: each.inFlightBytes,
      },
      ownJournal: each.ownJournal,
      receiveBytesMax: each.receiveBytesMax,
      ownLoad: {
        eventLoopDelayMilliseconds: each.eventLoopDelayMilliseconds,
        processorShare: each.processorShare,
      },
      source: each.isSourceKnown
        ? { fill: each.sourceFill, released: each.released, durable: position + each.behind }
        : undefined,
    };
  });
