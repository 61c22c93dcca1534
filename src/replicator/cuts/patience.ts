const quietMillisecondsMin = 3000;
const betweenPlacesMilliseconds = 1000;

/** Nothing was heard of a controller for so long: there is none. */
export function quietMilliseconds(intervalMilliseconds: number | null): number {
  return Math.max(3 * (intervalMilliseconds ?? 0), quietMillisecondsMin);
}

/**
 * How long the system at that place of a list waits before it takes over: those before it go first. Clocks
 * only propose: who takes over too early is refused, or refuses others, and no marker is wrong for it.
 */
export function patienceMilliseconds(intervalMilliseconds: number | null, place: number): number {
  return quietMilliseconds(intervalMilliseconds) + place * betweenPlacesMilliseconds;
}
