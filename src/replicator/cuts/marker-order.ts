import { compareMarkers } from '../../journal/cut-record.ts';
import type { CutMarkerId } from '../protocol/wire-cuts.ts';

/** Nothing is older than every marker. */
export function isAtLeast(a: CutMarkerId | null, b: CutMarkerId): boolean {
  return a !== null && compareMarkers(a, b) >= 0;
}

export function newerOf<Id extends CutMarkerId>(a: Id | null, b: Id | null): Id | null {
  if (a === null || b === null) return a ?? b;
  return compareMarkers(a, b) >= 0 ? a : b;
}

/** As people write it: `EPOCH.SEQUENCE`. */
export function formatMarkerId({ epoch, sequence }: CutMarkerId): string {
  return `${epoch}.${sequence}`;
}

/** Whether the text means that marker: its id or its name. */
export function isMarker(marker: CutMarkerId & { readonly name: string }, text: string): boolean {
  return formatMarkerId(marker) === text || (marker.name !== '' && marker.name === text);
}
