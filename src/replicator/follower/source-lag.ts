import type { JournalAnswer, JournalRead } from '../protocol/wire.ts';

/** A read under way. */
interface AskedRead {
  readonly asked: Pick<JournalRead, 'waitMilliseconds'>;
  readonly startedAtMilliseconds: number;
}

/** An answer that is no later than this may be on its way. */
const travelMilliseconds = 1000;

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

  /**
   * `isSilent`: nobody knows what the source did since it was heard last. `oldest`: of the reads under way;
   * when its answer should have been here, what the source did since is not known either.
   */
  seconds(now: number, isSilent: boolean, oldest?: AskedRead): number {
    const since = this.#behindSince ?? (isSilent ? this.#heardAt : undefined);
    const due = oldest && oldest.startedAtMilliseconds + oldest.asked.waitMilliseconds;
    const late = due === undefined ? 0 : now - due - travelMilliseconds;
    return Math.max(0, late, since === undefined ? 0 : now - since) / 1000;
  }
}
