import type { Clock } from '../../platform/clock.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { hashPieceBytes, hashPieces, UnitHashes } from '../../volume/unit-hashes.ts';
import type { CopyRate } from '../../platform/copy-rate.ts';
import { sendProblem } from './forwarded-requests.ts';
import { encodeHashAnswer, type HashRange } from '../protocol/hash-wire.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceVolume } from './source-messages.ts';
import type { Answer } from '../transport/transport.ts';

/** Of one group: each has its buffer, and they share what may be read. */
const requestsMax = 8;
const creditMin = 4096;

/**
 * Hashes of what stands in volumes' files, for followers that have most of it already. They are of the
 * same contents that copies are made of: what is applied, and of what is being applied any part.
 */
export class SourceHashes {
  readonly #journal: SourceJournal;
  readonly #rate: CopyRate;
  readonly #clock: Clock;
  readonly #refresh: () => void;
  #requests = 0;
  #turn: Promise<void> = Promise.resolve();

  /** `refresh` asks for what is known of the journal. */
  constructor(journal: SourceJournal, rate: CopyRate, clock: Clock, refresh: () => void) {
    this.#journal = journal;
    this.#rate = rate;
    this.#clock = clock;
    this.#refresh = refresh;
  }

  /** Answers in its turn. Throws JnbdError at once where it never will. */
  answer(volume: number, range: HashRange, answer: Answer): void {
    const found = this.#check(volume, range);
    if (this.#requests >= requestsMax) {
      const { name } = this.#journal.picture;
      const text = `hashes of group ${name} are made for ${requestsMax} requests already; try again`;
      throw new JnbdError('memory_exhausted', text);
    }
    this.#requests += 1;
    let isGone = false;
    answer.whenGone(() => {
      isGone = true;
    });
    this.#turn = this.#turn.then(async () => {
      if (!isGone) await this.#serve(found, range, answer, () => isGone);
      this.#requests -= 1;
    });
  }

  #check(volume: number, { offset }: HashRange): SourceVolume {
    const { picture, watermarks } = this.#journal;
    const { name, state, isReadable, contentsFrom, volumes } = picture;
    if (!isReadable || state !== 'normal' || watermarks.applied < contentsFrom) {
      // Where nobody reads the journal, nobody asked how far apply is: who comes again finds it known.
      this.#refresh();
      throw new JnbdError('group_state', `the contents of group ${name} are not complete here`);
    }
    const found = volumes.find(({ id }) => id === volume);
    if (!found) {
      throw new JnbdError('volume_not_found', `group ${name} has no volume ${volume} any more`);
    }
    if (offset >= found.sizeBytes) {
      const text = `volume ${volume} of group ${name} has ${found.sizeBytes} bytes; hashes from ${offset} on were asked for`;
      throw new JnbdError('protocol_violated', text);
    }
    // Not the same as a volume that is gone, of which nothing needs to be compared.
    if (found.path !== '') return found;
    throw new JnbdError(
      'volume_unreadable',
      `the contents of volume ${volume} of group ${name} are not here, or not complete`,
    );
  }

  async #serve(
    { path, sizeBytes }: SourceVolume,
    { offset, length }: HashRange,
    answer: Answer,
    isGone: () => boolean,
  ): Promise<void> {
    const { files } = this.#journal;
    // Others' reads may close the file meanwhile.
    const file = {
      nextDataSync: (position: number) => files.file(path, 'volume').nextDataSync(position),
    };
    const end = Math.min(sizeBytes, offset + length);
    try {
      const hashes = new UnitHashes(end - offset);
      const buffer = Buffer.allocUnsafe(hashPieceBytes);
      for (const piece of hashPieces(file, offset, end)) {
        if (piece.isHole) {
          hashes.addZeroes(piece.length);
          continue;
        }
        await this.#credit();
        if (isGone()) return;
        const count = await files.read(path, 'volume', buffer, 0, piece.length, piece.offset);
        buffer.fill(0, count, piece.length);
        hashes.add(buffer.subarray(0, piece.length));
        this.#rate.spend(piece.length);
      }
      // After reading: apply may have written more meanwhile, but nothing that is not durable now.
      const shows = await this.#journal.shownNow();
      if (isGone()) return;
      answer.head(200, {
        ...encodeHashAnswer({ sizeBytes, shows }),
        'content-type': 'application/octet-stream',
        'content-length': String(hashes.bytes.length),
      });
      answer.send(hashes.bytes, () => undefined);
      answer.end();
    } catch (error) {
      const message = `cannot read ${path} at ${offset}: ${messageOf(error)}`;
      const told = error instanceof JnbdError ? error : new JnbdError('volume_unreadable', message);
      sendProblem(answer, told);
    }
  }

  /** Others have their turn between two pieces. */
  async #credit(): Promise<void> {
    for (;;) {
      const pause = this.#rate.millisecondsUntil(creditMin);
      await new Promise<void>((resolve) => {
        if (pause > 0) this.#clock.after(pause, resolve);
        else this.#clock.soon(resolve);
      });
      if (this.#rate.credit >= creditMin) return;
    }
  }
}
