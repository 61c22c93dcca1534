import { FollowedStream, type FollowedStreamOwner } from './followed-stream.ts';
import type { JournalAnswer, JournalRead } from '../protocol/wire.ts';
import { MiB } from '../../platform/limits.ts';

/** A source whose stream ended is asked for another one after so long. */
const againMilliseconds = 1000;
/** One that misses more catches up by reads. */
const missingBytesMax = 4 * MiB;

/** Of one follower: whether what comes next comes on a stream, and the stream. */
export class SourceStreams {
  readonly #deps: ConstructorParameters<typeof FollowedStream>[0];
  readonly #owner: Omit<FollowedStreamOwner, 'over'> & { over(): void };
  #stream: FollowedStream | undefined;
  #notBefore = 0;

  /** `over`: reads go on, and are told what stands against another stream. */
  constructor(
    deps: ConstructorParameters<typeof FollowedStream>[0],
    owner: Omit<FollowedStreamOwner, 'over'> & { over(): void },
  ) {
    this.#deps = deps;
    this.#owner = owner;
  }

  get isOpen(): boolean {
    return this.#stream !== undefined;
  }

  /** By what the source said last. */
  isDue(source: JournalAnswer | undefined): boolean {
    if (!source?.synchronous || source.unsentBytes > missingBytesMax) return false;
    return this.#deps.clock.monotonicMilliseconds() >= this.#notBefore;
  }

  begin(asked: JournalRead, timeoutMilliseconds: number): void {
    const { told, blocked, failed } = this.#owner;
    const over = (): void => {
      this.#stream = undefined;
      this.#deps.body.close();
      this.#notBefore = this.#deps.clock.monotonicMilliseconds() + againMilliseconds;
      this.#owner.over();
    };
    this.#stream = new FollowedStream(this.#deps, asked, timeoutMilliseconds, {
      told,
      blocked,
      failed,
      over,
    });
  }

  acknowledge(): void {
    this.#stream?.acknowledge();
  }

  roomAppeared(): void {
    this.#stream?.roomAppeared();
  }

  close(): void {
    this.#stream?.close();
    this.#stream = undefined;
  }
}
