import type { CutMarkerId } from '../protocol/wire-cuts.ts';

/** Below 0: `a` is older. Later markers stand behind earlier ones in every journal (SAFETY 26). */
export function compareMarkers(a: CutMarkerId, b: CutMarkerId): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  if (a.sequence === b.sequence) return 0;
  return a.sequence < b.sequence ? -1 : 1;
}

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
