/** Time, injected. `wallMilliseconds` may jump; `monotonicMilliseconds` never goes back. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Unix time. For people and for record times; never for order. */
  wallMilliseconds(): number;
  monotonicMilliseconds(): number;
  /** Runs once. A waiting timer does not keep the process alive. */
  after(milliseconds: number, run: () => void): Timer;
  /** Runs after the current input was handled, before later input. */
  soon(run: () => void): void;
}

export const nodeClock: Clock = {
  wallMilliseconds: () => Date.now(),
  monotonicMilliseconds: () => performance.now(),
  after(milliseconds, run) {
    const timeout = setTimeout(run, milliseconds);
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  soon(run) {
    setImmediate(run);
  },
};
