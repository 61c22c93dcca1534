import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import type { BatchBuffers } from './batch-buffers.ts';
import { CopyRate } from '../../platform/copy-rate.ts';
import { type ColdReads, SourceFiles } from './source-files.ts';
import { SourceHashes } from './source-hashes.ts';
import { SourceJournal } from './source-journal.ts';
import type {
  AppendedRecords,
  FromSource,
  GroupPicture,
  JournalProgress,
} from './source-messages.ts';
import { SourceReader } from './source-reader.ts';

/** Who is sent whatever is new. */
export interface NewsStream {
  look(): void;
}

/** What is known may be so old before it is asked for again, while there is still something to send. */
const ageMillisecondsMax = 50;

/** One group in the source worker: its journal, who reads it, and who waits for more of it. */
export class SourceGroup {
  readonly journal: SourceJournal;
  readonly rate: CopyRate;
  readonly clock: Clock;
  readonly buffers: BatchBuffers;
  readonly hashes: SourceHashes;
  readonly #post: (message: FromSource) => void;
  readonly #readers = new Map<number, SourceReader>();
  readonly #waiting = new Set<() => void>();
  readonly #streams = new Set<NewsStream>();
  #isAsked = false;
  #isAskedUrgently = false;
  #isStopping = false;
  #isClosed = false;
  #trouble: string | undefined;

  constructor(
    deps: {
      readonly disk: Disk;
      readonly clock: Clock;
      readonly cold: ColdReads;
      readonly buffers: BatchBuffers;
    },
    picture: GroupPicture,
    durable: SharedArrayBuffer,
    post: (message: FromSource) => void,
  ) {
    const files = new SourceFiles(deps.disk, deps.cold);
    this.journal = new SourceJournal(deps.clock, files, picture, durable);
    this.rate = new CopyRate(deps.clock, picture.copyBytesPerSecond);
    this.buffers = deps.buffers;
    this.clock = deps.clock;
    this.#post = post;
    this.hashes = new SourceHashes(this.journal, this.rate, deps.clock, () => this.refresh());
  }

  /** The follower, if it is registered. */
  reader(systemId: number): SourceReader | undefined {
    const known = this.#readers.get(systemId);
    if (known) return known;
    const { followers } = this.journal.picture;
    if (!followers.some((follower) => follower.systemId === systemId)) return undefined;
    const reader = new SourceReader(systemId);
    this.#readers.set(systemId, reader);
    this.buffers.join(reader);
    return reader;
  }

  change(picture: GroupPicture): void {
    this.journal.picture = picture;
    this.rate.bytesPerSecond = picture.copyBytesPerSecond;
    const registered = new Set(picture.followers.map(({ systemId }) => systemId));
    for (const [systemId, reader] of this.#readers) {
      if (registered.has(systemId)) continue;
      this.#readers.delete(systemId);
      this.buffers.leave(reader);
    }
    // Nobody asks for what could not be read.
    if (registered.size === 0) this.noteTrouble(undefined);
    this.wake();
  }

  advance(progress: JournalProgress): void {
    this.#isAsked = false;
    this.#isAskedUrgently = false;
    this.journal.advance(progress);
    this.wake();
  }

  /** News for streams alone: nobody else is given what is not durable. */
  appended(records: AppendedRecords): void {
    this.journal.appended(records);
    for (const stream of this.#streams) stream.look();
  }

  /** `wake` is called at the next news of the journal, unless what this returns was called before. */
  whenNews(wake: () => void): () => void {
    this.#waiting.add(wake);
    this.#askOnce();
    return () => {
      this.#waiting.delete(wake);
    };
  }

  /** What is known of the journal may not be true any more. */
  get isOld(): boolean {
    return this.journal.ageMilliseconds > ageMillisecondsMax;
  }

  /** News are wanted in any case, also that there are none. */
  refresh(): void {
    if (this.#isAskedUrgently) return;
    this.#isAskedUrgently = true;
    this.#askNow(true);
  }

  /** It is told of all news, until it leaves. */
  joinStream(stream: NewsStream): void {
    this.#streams.add(stream);
    if (this.#streams.size === 1) this.#watch(true);
  }

  leaveStream(stream: NewsStream): void {
    if (this.#streams.delete(stream) && this.#streams.size === 0) this.#watch(false);
  }

  #watch(isOn: boolean): void {
    this.#post({ kind: 'watch', groupId: this.journal.picture.groupId, isOn });
  }

  /** Everybody who waits looks again. */
  wake(): void {
    for (const stream of this.#streams) stream.look();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** What would have to be there cannot be read; undefined: something was read. */
  noteTrouble(message: string | undefined): void {
    // A group of the same id may be there by now, which what ends here says nothing about.
    if (message === this.#trouble || this.#isClosed) return;
    this.#trouble = message;
    this.#post({ kind: 'trouble', groupId: this.journal.picture.groupId, message });
  }

  /** No more is waited for. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  stop(): void {
    this.#isStopping = true;
    this.wake();
  }

  close(): void {
    this.noteTrouble(undefined);
    this.#isClosed = true;
    this.journal.close();
    for (const reader of this.#readers.values()) this.buffers.leave(reader);
    this.#readers.clear();
    this.wake();
  }

  #askOnce(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#askNow(false);
  }

  #askNow(isUrgent: boolean): void {
    this.#post({ kind: 'ask', groupId: this.journal.picture.groupId, isUrgent });
  }
}
