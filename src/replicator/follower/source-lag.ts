import type { JournalAnswer } from '../protocol/wire.ts';

/** How old what the source has and this system has not is, as far as is known. All times are monotonic. */
export class SourceLag {
  /** Since when the source is known to have had what is not here; undefined: it has nothing. */
  #behindSince: number | undefined;
  #heardAt: number | undefined;

  heard({ through, watermarks, oldestUnsentMilliseconds }: JournalAnswer, now: number): void {
    this.#heardAt = now;
    const isBehind = through.number < watermarks.newest;
    this.#behindSince = isBehind ? now - oldestUnsentMilliseconds : undefined;
  }

  /** `isSilent`: nobody knows what the source did since it was heard last. */
  seconds(now: number, isSilent: boolean): number {
    const since = this.#behindSince ?? (isSilent ? this.#heardAt : undefined);
    return since === undefined ? 0 : (now - since) / 1000;
  }
}
