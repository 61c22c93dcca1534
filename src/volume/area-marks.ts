import type { DiskFile } from '../platform/disk.ts';
import { blockBytes } from '../platform/limits.ts';
import { blocksPerMapPage, mapStart } from './area-layout.ts';

const pageBytes = blocksPerMapPage / 8;

/**
 * Sets the bits of what is written to areas, a page of the map at a time. Setting one again changes
 * nothing, so whatever is applied again after a crash may be marked again. No page is kept from one use to
 * the next: contents that come past the journal change them too.
 */
export class AreaMarks {
  readonly #page = new Uint8Array(pageBytes);
  readonly #written: (volume: number, offset: number, length: number) => void;
  #file: DiskFile | undefined;
  #volume = 0;
  #at = 0;
  #isChanged = false;

  /** `written` is told of each page that changed. */
  constructor(written: (volume: number, offset: number, length: number) => void) {
    this.#written = written;
  }

  /** These bytes of the area were written, or will be in the same batch. Throws system errors. */
  mark(volume: number, file: DiskFile, dataBytes: number, offset: number, length: number): void {
    const end = Math.min(
      Math.ceil((offset + length) / blockBytes),
      mapStart(dataBytes) / blockBytes,
    );
    for (let block = Math.floor(offset / blockBytes); block < end; block += 1) {
      this.#turnTo(
        volume,
        file,
        mapStart(dataBytes) + Math.floor(block / blocksPerMapPage) * pageBytes,
      );
      const bit = block % blocksPerMapPage;
      const before = this.#page[bit >> 3] ?? 0;
      const after = before | (1 << (bit & 7));
      if (before === after) continue;
      this.#page[bit >> 3] = after;
      this.#isChanged = true;
    }
  }

  /** What was marked is in the files. Throws system errors. */
  finish(): void {
    const file = this.#file;
    this.#file = undefined;
    if (!file || !this.#isChanged) return;
    this.#isChanged = false;
    file.writeSync(this.#page, 0, pageBytes, this.#at);
    this.#written(this.#volume, this.#at, pageBytes);
  }

  /** Forgets what a batch left that failed. */
  begin(): void {
    this.#file = undefined;
    this.#isChanged = false;
  }

  #turnTo(volume: number, file: DiskFile, at: number): void {
    if (this.#file === file && this.#at === at) return;
    this.finish();
    const read = file.readSync(this.#page, 0, pageBytes, at);
    this.#page.fill(0, read);
    this.#file = file;
    this.#volume = volume;
    this.#at = at;
  }
}
