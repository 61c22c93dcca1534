import { type PlaceMarker, toldMarkersMax } from '../protocol/wire-cuts.ts';
import type { ReceivedMarker } from './cut-member.ts';

/** As it travels. */
export function placeMarker(marker: ReceivedMarker): PlaceMarker {
  const { epoch, sequence, wallTimeMilliseconds, name, number, isCommitted } = marker;
  return { epoch, sequence, wallTimeMilliseconds, name, number: Number(number), isCommitted };
}

/**
 * Of too many those in the middle are left out: with the oldest others go on that were away, and to the newest all
 * go in the end.
 */
export function toldOf(markers: PlaceMarker[]): PlaceMarker[] {
  if (markers.length <= toldMarkersMax) return markers;
  const half = toldMarkersMax / 2;
  return [...markers.slice(0, half), ...markers.slice(-half)];
}
