/**
 * The seam between the thread that serves hosts and a worker. Workers are plain classes that know
 * only a port, so the simulation runs them in one thread. Messages arrive in the order posted,
 * never from within `post`. What is shared (typed arrays on SharedArrayBuffer) is written by the
 * poster before `post` and not touched again until the answer.
 */
export interface WorkerPort<Sent, Received> {
  /** What is given away with a message is not copied, and of no use to the poster any more. */
  post(message: Sent, givenAway?: readonly ArrayBuffer[]): void;
  /** Called once, before the first message is posted. */
  receive(handler: (message: Received) => void): void;
  /** In this thread, behind what has come for it meanwhile: messages, and ends of calls. Never once it is closed. */
  soon(run: () => void): void;
  /** Ends the worker. What it was doing may be left half done, as by a crash. */
  close(): Promise<void>;
}
