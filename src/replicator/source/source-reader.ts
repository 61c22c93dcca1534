import { SourceCopy } from './source-copy.ts';

/** One follower of one group, as the source worker knows it. */
export class SourceReader {
  readonly systemId: number;
  readonly copy = new SourceCopy();
  /** The last number that was put into an answer. */
  sent = 0;
  /** Reads that are not answered yet. */
  reads = 0;
  /** Ends the stream of it that there is. */
  endStream: (() => void) | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(systemId: number) {
    this.systemId = systemId;
  }

  /**
   * One after the other, in the order asked: contents of a volume have to come in order of address, so
   * the next read is looked at only when the one before has what it gets.
   */
  async inTurn(run: () => Promise<void>): Promise<void> {
    const before = this.#turn;
    let end: () => void = () => {};
    this.#turn = new Promise((resolve) => {
      end = resolve;
    });
    await before;
    try {
      await run();
    } finally {
      end();
    }
  }
}
