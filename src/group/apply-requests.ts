import { must } from '../platform/assert.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import type { ApplyVolume, FromApply, ToApply } from '../volume/apply-messages.ts';
import type { Region } from '../volume/region-set.ts';

/** Undefined: it was done. */
export type PreserveFailure = (FromApply & { kind: 'preserved' })['failure'];

/** What a follower asks of the apply worker for contents that come past the journal. It answers in order. */
export class ApplyRequests {
  readonly #port: WorkerPort<ToApply, FromApply>;
  readonly #copies: ((failure: string | undefined) => void)[] = [];
  readonly #preserves: ((failure: PreserveFailure) => void)[] = [];

  constructor(port: WorkerPort<ToApply, FromApply>) {
    this.#port = port;
  }

  /** Whoever asks sees to it that nothing of the journal is on its way to the volume. */
  copy(
    volume: ApplyVolume,
    offset: number,
    length: number,
    contents: Uint8Array | undefined,
    done: (failure: string | undefined) => void,
  ): void {
    this.#copies.push(done);
    this.#port.post({ kind: 'copy', volume, offset, length, contents });
  }

  /** Saves what these regions hold, before they are overwritten; durable at `done`. */
  preserve(
    regions: readonly Region[],
    volumes: readonly ApplyVolume[],
    done: (failure: PreserveFailure) => void,
  ): void {
    this.#preserves.push(done);
    this.#port.post({ kind: 'preserve', regions, volumes });
  }

  /** What was preserved is not needed any more, and nothing is from now on. */
  dropPreserved(): void {
    this.#port.post({ kind: 'drop_preserved' });
  }

  /** False: it answers something else. */
  received(message: FromApply): boolean {
    switch (message.kind) {
      case 'copied':
        must(this.#copies.shift(), 'a copy was under way')(message.failure);
        return true;
      case 'preserved':
        must(this.#preserves.shift(), 'something was to be preserved')(message.failure);
        return true;
      default:
        return false;
    }
  }
}
