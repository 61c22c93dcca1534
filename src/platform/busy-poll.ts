import { availableParallelism } from 'node:os';

/**
 * How long the event loop looks for more without sleeping. A client that waits for an answer sends its
 * next request some 20 microseconds after it, and waking a thread that sleeps takes as long again, more
 * on virtual machines. A client that stays away this long costs nothing further.
 */
const milliseconds = 0.05;

/** With one processor the client could not run meanwhile. */
const isWorthIt = availableParallelism() > 1;

let isPolling = false;
let began = 0;

/** Something was received: for a moment the loop does not sleep. */
export function pollBusily(): void {
  if (!isWorthIt) return;
  began = performance.now();
  if (isPolling) return;
  isPolling = true;
  setImmediate(pollAgain);
}

function pollAgain(): void {
  isPolling = performance.now() - began < milliseconds;
  if (isPolling) setImmediate(pollAgain);
}
