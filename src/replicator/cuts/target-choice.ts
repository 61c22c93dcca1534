import type { CutMarkerId, CutTold, PlaceMarker } from '../protocol/wire-cuts.ts';
import { compareMarkers } from '../../journal/cut-record.ts';
import { formatMarkerId, isAtLeast, newerOf } from './marker-order.ts';

/** What a secondary of a target list says of itself. */
export type ToldTarget = CutTold<'targets'>;

export type TargetStep =
  | { readonly kind: 'level' }
  /** Nothing can be done, and why. */
  | { readonly kind: 'wait'; readonly text: string }
  /** Those of `places`, by their place in the list, are to be asked. */
  | {
      readonly kind: 'prepare' | 'apply';
      readonly marker: CutMarkerId;
      readonly places: readonly number[];
    };

/**
 * Markers that stand in the journals of all, ahead of what each may have applied, and whose commit stands in
 * one of them at least; oldest first.
 */
export function selectableMarkers(
  places: readonly Pick<ToldTarget, 'markers' | 'heldAt'>[],
): PlaceMarker[] {
  const [first, ...others] = places;
  if (!first) return [];
  const counts = new Map<string, { places: number; isCommitted: boolean }>();
  for (const { markers, heldAt } of others) {
    for (const marker of markers) {
      if (marker.number < heldAt) continue;
      const id = formatMarkerId(marker);
      const known = counts.get(id);
      counts.set(id, {
        places: (known?.places ?? 0) + 1,
        isCommitted: marker.isCommitted || (known?.isCommitted ?? false),
      });
    }
  }
  return first.markers.filter((marker) => {
    const known = counts.get(formatMarkerId(marker));
    const isEverywhere = (known?.places ?? 0) === others.length;
    return (
      isEverywhere && marker.number >= first.heldAt && (marker.isCommitted || known?.isCommitted)
    );
  });
}

/**
 * What is next for a target list. A target is asked of nobody to apply before all have it durably as their next
 * one, so the newest that anybody has can be completed by everybody (SAFETY 27).
 */
export function nextStep(places: readonly ToldTarget[]): TargetStep {
  const promoting = places.find(({ promotion }) => promotion !== null)?.promotion;
  if (promoting) {
    return { kind: 'wait', text: `it is being promoted at marker ${formatMarkerId(promoting)}` };
  }
  const absent = places.find(({ state }) => state !== 'holding');
  if (absent) return { kind: 'wait', text: absent.text };
  let goal: CutMarkerId | null = selectableMarkers(places).at(-1) ?? null;
  for (const { next, released } of places) goal = newerOf(goal, newerOf(next, released));
  if (!goal) return { kind: 'level' };
  const marker = goal;
  const unprepared = placesOf(
    places,
    ({ next, released }) => !isAtLeast(newerOf(next, released), marker),
  );
  if (unprepared.length > 0) return { kind: 'prepare', marker, places: unprepared };
  const unreleased = placesOf(places, ({ released }) => !isAtLeast(released, marker));
  if (unreleased.length > 0) return { kind: 'apply', marker, places: unreleased };
  return { kind: 'level' };
}

/**
 * Places that have to receive more before the list can go on, whatever they keep back already: another one has all
 * the markers that they have behind it, because its contents were brought in another way.
 */
export function placesBehind(places: readonly ToldTarget[]): number[] {
  const isWhole = places.every(({ state }) => state === 'holding');
  if (!isWhole || selectableMarkers(places).length > 0) return [];
  return placesOf(places, ({ markers }) => {
    const newest = markers.at(-1) ?? null;
    return places.some(({ markers: [oldest] }) => oldest && !isAtLeast(newest, oldest));
  });
}

/** At which marker places were promoted already; null: none was. Those that were are all at one. */
export function promotedMarker(places: readonly ToldTarget[]): CutMarkerId | null {
  const promoted = places.find(({ state }) => state === 'promoted');
  return promoted?.promotion ?? null;
}

/** The newest marker that a promotion was prepared for and that all the others may still be promoted at. */
export function preparedMarker(places: readonly ToldTarget[]): CutMarkerId | null {
  const possible = selectableMarkers(places);
  let prepared: CutMarkerId | null = null;
  for (const { promotion } of places) {
    const isPossible =
      promotion && possible.some((marker) => compareMarkers(marker, promotion) === 0);
    if (isPossible) prepared = newerOf(prepared, promotion);
  }
  return prepared;
}

function placesOf(
  places: readonly ToldTarget[],
  isWanted: (place: ToldTarget) => boolean | undefined,
): number[] {
  return places.flatMap((place, at) => (isWanted(place) ? [at] : []));
}
