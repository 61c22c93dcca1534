import { type CatalogChange, decodeChange } from '../../src/group/catalog/catalog.ts';
import { type RecordHeader, recordType } from '../../src/journal/record.ts';
import { must } from '../../src/platform/assert.ts';
import { JournalFollower } from '../crash/journal-follower.ts';

/** `payload` undefined: zeroes. */
interface Update {
  readonly number: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly payload: Buffer | undefined;
}

interface RecordedSnapshot {
  readonly number: number;
  /** Ids of the volumes that hold what it preserves. */
  readonly areas: readonly number[];
}

/** A volume once in so many updates, so that no instant is far from one that is kept. */
const updatesPerImage = 512;

class RecordedVolume {
  readonly sizeBytes: number;
  readonly #updates: Update[] = [];
  readonly #images: Buffer[] = [];
  readonly #newest: Buffer;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#newest = Buffer.alloc(sizeBytes);
  }

  add(update: Update): void {
    if (this.#updates.length % updatesPerImage === 0) this.#images.push(Buffer.from(this.#newest));
    this.#updates.push(update);
    change(this.#newest, update);
  }

  /** Behind all updates up to `number`. */
  at(number: number): Buffer {
    const behind = this.#updates.findIndex((update) => update.number > number);
    const count = behind < 0 ? this.#updates.length : behind;
    if (count === this.#updates.length) return this.#newest;
    const image = Math.floor(count / updatesPerImage);
    const contents = Buffer.from(must(this.#images[image], 'an image before each update'));
    for (const update of this.#updates.slice(image * updatesPerImage, count))
      change(contents, update);
    return contents;
  }
}

function change(contents: Buffer, { offset, length, payload }: Update): void {
  if (payload) payload.copy(contents, offset);
  else contents.fill(0, offset, offset + length);
}

/**
 * All that a group's journal ever said, read from its segments beside the daemon: what each volume held behind every
 * update, and at which update each snapshot was made. It knows nothing of how snapshots and views are kept.
 */
export class RecordedHistory {
  readonly #follower: JournalFollower;
  readonly #volumes = new Map<number, RecordedVolume>();
  readonly #ids = new Map<string, number>();
  /** Those that are there, by name. */
  readonly snapshots = new Map<string, RecordedSnapshot>();

  constructor(journalDirectory: string) {
    this.#follower = new JournalFollower([journalDirectory], (header, payload) => {
      this.#seen(header, payload);
    });
  }

  /** The last update that it has seen. */
  get number(): number {
    return this.#follower.number;
  }

  get volumes(): string[] {
    return [...this.#ids.keys()];
  }

  /** Has to be called before a segment can come to be used again. */
  poll(): void {
    this.#follower.poll();
  }

  contentsAt(volume: string, number: number): Buffer {
    const id = must(this.#ids.get(volume), `volume ${volume} was created`);
    return must(this.#volumes.get(id), `volume ${volume} is recorded`).at(number);
  }

  close(): void {
    this.#follower.close();
  }

  #seen({ type, number, volume, offset, length }: RecordHeader, payload: Buffer): void {
    if (type === recordType.catalog) {
      this.#changed(decodeChange(payload), number);
      return;
    }
    const isWrite = type === recordType.write;
    if (!isWrite && type !== recordType.zero && type !== recordType.hole) return;
    // Areas of snapshots are volumes, too, which nobody reads as such.
    const bytes = isWrite ? Buffer.from(payload) : undefined;
    this.#volumes.get(volume)?.add({ number, volume, offset, length, payload: bytes });
  }

  #changed(change: CatalogChange, number: number): void {
    if (change.change === 'volume_created') {
      this.#ids.set(change.volume.name, change.volume.id);
      this.#volumes.set(change.volume.id, new RecordedVolume(change.volume.sizeBytes));
    } else if (change.change === 'snapshot_created') {
      const areas = change.areas.map(({ id }) => id);
      this.snapshots.set(change.snapshot.name, { number, areas });
    } else if (change.change === 'snapshot_deleted') {
      for (const [name, snapshot] of this.snapshots)
        if (snapshot.number === change.number) this.snapshots.delete(name);
    }
  }
}
