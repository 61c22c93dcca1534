/** When the two sides of a stream say something though there is nothing new, and give each other up. */
const beatMillisecondsMax = 5000;
const beatMillisecondsMin = 10;
const silenceMillisecondsMin = 1000;
const silenceMillisecondsMax = 15_000;

/** `timeoutMilliseconds`: how long replies to hosts wait for a silent follower; 0: they do not. */
export function beatMillisecondsOf(timeoutMilliseconds: number): number {
  if (timeoutMilliseconds === 0) return beatMillisecondsMax;
  return Math.min(beatMillisecondsMax, Math.max(beatMillisecondsMin, timeoutMilliseconds / 3));
}

export function silenceMillisecondsOf(timeoutMilliseconds: number): number {
  if (timeoutMilliseconds === 0) return silenceMillisecondsMax;
  return Math.min(silenceMillisecondsMax, Math.max(silenceMillisecondsMin, timeoutMilliseconds));
}
