/** A marker that recovery does not find any more, because everything up to it is in the volumes. */
export interface CatalogMarker {
  readonly cutId: string;
  /** Decimal: 64 bits. */
  readonly epoch: string;
  readonly sequence: string;
  readonly wallTimeMilliseconds: number;
  readonly name: string;
  readonly number: number;
  readonly isCommitted: boolean;
}

export function areSameMarkers(
  a: readonly CatalogMarker[] = [],
  b: readonly CatalogMarker[] = [],
): boolean {
  if (a.length !== b.length) return false;
  return a.every((marker, at) => {
    const other = b[at];
    return other?.number === marker.number && other.isCommitted === marker.isCommitted;
  });
}
