import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CutMarkerId, PlaceMarker } from '../../../src/replicator/protocol/wire-cuts.ts';
import { compareMarkers } from '../../../src/journal/cut-record.ts';
import { isAtLeast, newerOf } from '../../../src/replicator/cuts/marker-order.ts';
import {
  nextStep,
  placesBehind,
  preparedMarker,
  promotedMarker,
  selectableMarkers,
  type TargetStep,
  type ToldTarget,
} from '../../../src/replicator/cuts/target-choice.ts';

const id = (sequence: number): CutMarkerId => ({ epoch: 1n, sequence: BigInt(sequence) });

function marker(sequence: number, isCommitted: boolean, number = sequence * 10): PlaceMarker {
  return { ...id(sequence), wallTimeMilliseconds: 0, name: '', number, isCommitted };
}

function told(markers: readonly PlaceMarker[], more: Partial<ToldTarget> = {}): ToldTarget {
  return {
    state: 'holding',
    text: '',
    markers: [...markers],
    heldAt: 0,
    received: 0,
    applied: 0,
    released: null,
    next: null,
    promotion: null,
    ...more,
  };
}

describe('what can be selected', () => {
  test('stands in all journals, committed in one, and ahead of what is applied', () => {
    const first = told([marker(1, false), marker(2, true), marker(3, false), marker(4, true)]);
    const second = told([marker(1, true), marker(2, false), marker(3, false)]);
    const sequences = (places: readonly ToldTarget[]): number[] =>
      selectableMarkers(places).map(({ sequence }) => Number(sequence));
    expect(sequences([first, second])).toEqual([1, 2]);
    expect(sequences([first, { ...second, heldAt: 11 }])).toEqual([2]);
    expect(sequences([{ ...first, heldAt: 21 }, second])).toEqual([]);
    expect(sequences([first])).toEqual([2, 4]);
    expect(sequences([])).toEqual([]);
    expect(sequences([first, told([])])).toEqual([]);
  });
});

describe('who has to receive more', () => {
  const [early, late] = [
    told([marker(1, true), marker(2, true)]),
    told([marker(4, true), marker(5, true)]),
  ];

  test('has only markers that another one is past', () => {
    expect(placesBehind([early, late])).toEqual([0]);
    expect(placesBehind([late, told([]), early])).toEqual([1, 2]);
    expect(placesBehind([early, told([])])).toEqual([1]);
    expect(placesBehind([told([]), told([])])).toEqual([]);
  });

  test('is nobody where there is a marker to go to, or one is not there', () => {
    expect(placesBehind([early, told([marker(2, false), marker(3, true)])])).toEqual([]);
    expect(placesBehind([early, { ...late, state: 'incomplete' }])).toEqual([]);
  });
});

describe('the next step', () => {
  const both = [marker(1, true), marker(2, true)];

  test('waits for who is not there, or is being promoted', () => {
    const away = told(both, { state: 'away', text: 'it is away' });
    expect(nextStep([told(both), away])).toEqual({ kind: 'wait', text: 'it is away' });
    const promoting = told(both, { promotion: { ...id(1), attempt: 'x' } });
    expect(nextStep([told(both), promoting])).toMatchObject({
      kind: 'wait',
      text: 'it is being promoted at marker 1.1',
    });
  });

  test('is prepared by all, then applied by all, and is nothing where all are level', () => {
    const places = [told(both), told(both)];
    expect(nextStep(places)).toEqual({ kind: 'prepare', marker: marker(2, true), places: [0, 1] });
    const prepared = [told(both, { next: id(2) }), told(both, { next: id(1) })];
    expect(nextStep(prepared)).toMatchObject({ kind: 'prepare', places: [1] });
    const released = [
      told(both, { next: id(2), released: id(2) }),
      told(both, { next: id(2), released: id(1) }),
    ];
    expect(nextStep(released)).toMatchObject({ kind: 'apply', places: [1] });
    const level = [told(both, { next: id(2), released: id(2) })];
    expect(nextStep(level)).toEqual({ kind: 'level' });
    expect(nextStep([told([]), told([])])).toEqual({ kind: 'level' });
  });

  test('completes what somebody may have begun, also where nothing else can be selected', () => {
    const places = [told([marker(2, true)], { next: id(2), released: id(2) }), told(both)];
    expect(nextStep(places)).toMatchObject({ kind: 'prepare', marker: id(2), places: [1] });
    const gone = [told([], { next: id(2), released: id(2) }), told(both, { next: id(1) })];
    expect(nextStep(gone)).toMatchObject({ kind: 'prepare', marker: id(2), places: [1] });
  });
});

describe('a promotion', () => {
  const both = [marker(1, true), marker(2, true)];
  const at = (sequence: number) => ({ promotion: { ...id(sequence), attempt: 'x' } });

  test('goes on at the marker of who was promoted, and else of who is prepared', () => {
    const prepared = [told(both, at(1)), told(both)];
    expect(promotedMarker(prepared)).toBeNull();
    expect(preparedMarker(prepared)).toMatchObject(id(1));
    expect(preparedMarker([told(both, at(1)), told(both, { heldAt: 11 })])).toBeNull();
    const begun = [told(both), told([], { state: 'promoted', ...at(1) })];
    expect(promotedMarker(begun)).toMatchObject(id(1));
  });
});

/** Secondaries that keep what they promised, and controllers whose messages are lost or late. */
class TargetModel {
  readonly places: ToldTarget[];
  /** What each controller saw, and was told since. */
  readonly #seen = new Map<number, ToldTarget[]>();
  readonly #prepared = new Map<number, { marker: CutMarkerId; missing: Set<number> }>();

  constructor(count: number) {
    this.places = Array.from({ length: count }, () => told([]));
  }

  /** A place gets the next marker. */
  receive(at: number, isCommitted: boolean): void {
    this.#change(at, (place) => ({
      markers: [...place.markers, marker(place.markers.length + 1, isCommitted)],
    }));
  }

  look(controller: number): void {
    this.#seen.set(controller, [...this.places]);
    this.#prepared.delete(controller);
  }

  /** The controller asks one place for what it found next; `isLost`: its answer. */
  act(controller: number, at: number, isLost: boolean): void {
    const prepared = this.#prepared.get(controller);
    if (prepared) {
      if (prepared.missing.size === 0) this.#apply(at, prepared.marker);
      else if (prepared.missing.has(at)) {
        if (this.#prepare(at, prepared.marker) && !isLost) prepared.missing.delete(at);
      }
      return;
    }
    const step: TargetStep = nextStep(this.#seen.get(controller) ?? []);
    if (step.kind === 'apply') this.#apply(at, step.marker);
    if (step.kind === 'prepare') {
      const missing = new Set(step.places);
      this.#prepared.set(controller, { marker: step.marker, missing });
    }
  }

  /** Whether everybody can be brought to where anybody may be. */
  get isWhole(): boolean {
    return this.places.every(
      ({ released }) =>
        released === null ||
        this.places.every(
          ({ next, released: own, markers }) =>
            isAtLeast(newerOf(next, own), released) &&
            markers.some((each) => compareMarkers(each, released) === 0),
        ),
    );
  }

  #prepare(at: number, wanted: CutMarkerId): boolean {
    const place = this.places[at];
    if (!place?.markers.some((each) => compareMarkers(each, wanted) === 0)) return false;
    if (!isAtLeast(newerOf(place.next, place.released), wanted)) {
      this.#change(at, () => ({ next: wanted }));
    }
    return true;
  }

  #apply(at: number, wanted: CutMarkerId): void {
    const place = this.places[at];
    if (!place || isAtLeast(place.released, wanted) || !isAtLeast(place.next, wanted)) return;
    const { number } = marker(Number(wanted.sequence), true);
    this.#change(at, () => ({ released: wanted, heldAt: number }));
  }

  #change(at: number, change: (place: ToldTarget) => Partial<ToldTarget>): void {
    const place = this.places[at];
    if (place) this.places[at] = { ...place, ...change(place) };
  }
}

test('two controllers whose messages are lost or late bring nobody where others cannot follow', () => {
  const move = fc.oneof(
    { weight: 3, arbitrary: fc.tuple(fc.constant('receive'), fc.nat(2), fc.boolean()) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('look'), fc.nat(1), fc.boolean()) },
    { weight: 8, arbitrary: fc.tuple(fc.constant('act'), fc.nat(5), fc.boolean()) },
  );
  let reached = 0;
  fc.assert(
    fc.property(fc.array(move, { minLength: 20, maxLength: 150 }), (moves) => {
      const model = new TargetModel(3);
      for (const [what, at, chance] of moves) {
        if (what === 'receive') model.receive(at, chance);
        else if (what === 'look') model.look(at);
        else model.act(at % 2, Math.floor(at / 2), chance);
        expect(model.isWhole).toBe(true);
      }
      // One that is left alone completes what was begun.
      for (let round = 0; round < 4; round += 1) {
        model.look(0);
        for (let turn = 0; turn < 10; turn += 1) {
          for (let at = 0; at < 3; at += 1) model.act(0, at, false);
        }
      }
      const [first, ...others] = model.places;
      for (const other of others) expect(other.released).toEqual(first?.released);
      if (first?.released) reached += 1;
    }),
    { numRuns: 1000 },
  );
  expect(reached).toBeGreaterThan(100);
});
