import type { PlaceMarker } from '../protocol/wire-cuts.ts';
import type { ReceivedMarker } from './cut-member.ts';

/** As it travels. */
export function placeMarker(marker: ReceivedMarker): PlaceMarker {
  const { epoch, sequence, wallTimeMilliseconds, name, number, isCommitted } = marker;
  return { epoch, sequence, wallTimeMilliseconds, name, number: Number(number), isCommitted };
}
