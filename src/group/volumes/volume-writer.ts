import { type ReceiveSlab, scratchSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes } from '../../journal/record.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes, slabBytes, slabHeadroomBytes } from '../../platform/limits.ts';
import { type Errno, errno, type ExportClient } from '../apply/export.ts';
import type { Volume } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';
import { HostSession } from '../order/host-session.ts';

/** What one record carries, so that one slab holds it and it begins on a block. */
export const chunkBytes =
  Math.floor((slabBytes - slabHeadroomBytes - recordHeaderBytes) / blockBytes) * blockBytes;

/**
 * A host of our own, which may write to a volume that no other host may: it waits where a real one would wait, and
 * what it writes is numbered, preserved and followed as theirs is. What it does rejects with JnbdError: disk_full (also
 * where the journal is), write_failed, journal_failed, shutting_down, or what `fail` was given.
 */
export class VolumeWriter {
  readonly #session: HostSession;
  #failure: JnbdError | undefined;
  #wake: () => void = () => undefined;

  /**
   * `peer`: for people, in place of an address. Only in a turn of the group's changes: nothing may be written behind
   * the record that deletes the volume.
   */
  constructor(group: Group, volume: Volume, peer: string) {
    const client: ExportClient = {
      peer,
      admitted: () => this.#wake(),
      durableReached: () => this.#wake(),
      durableFailed: (_from, _error, text) => this.fail(new JnbdError('journal_failed', text)),
      readCompleted: () => undefined,
      revoke: (reason) => this.fail(new JnbdError('shutting_down', reason)),
    };
    this.#session = new HostSession(group, volume, client, true);
    volume.sessions.add(this.#session);
  }

  /** Whatever it does from now on, or waits for, rejects with that. */
  fail(error: JnbdError): void {
    this.#failure ??= error;
    this.#wake();
  }

  /** `fill` puts the bytes there; at most `chunkBytes`. */
  async write(
    offset: number,
    length: number,
    fill: (bytes: Buffer, start: number) => Promise<void>,
  ): Promise<void> {
    const session = this.#session;
    const slab = await this.#takeSlab();
    try {
      await fill(slab.bytes, slabHeadroomBytes + recordHeaderBytes);
      await this.#stamped(recordHeaderBytes + length, () =>
        session.stampWrite(slab, slabHeadroomBytes, recordHeaderBytes, offset, length),
      );
    } finally {
      session.retire(slab);
    }
  }

  /** It reads as zeroes, and takes no space where that can be. */
  async clear(offset: number, length: number): Promise<void> {
    const session = this.#session;
    await this.#stamped(recordHeaderBytes, () => {
      const slab = scratchSlab(recordHeaderBytes);
      return session.stampRange(slab, 0, recordHeaderBytes, 'hole', offset, length);
    });
  }

  /** What was written is durable, and wherever hosts wait for. */
  async durable(): Promise<void> {
    const session = this.#session;
    const { newest } = session;
    session.requestDurable(newest);
    while (!this.#failure && session.answerable < newest) await this.#woken();
    if (this.#failure) throw this.#failure;
  }

  close(): void {
    this.#session.close();
  }

  async #takeSlab(): Promise<ReceiveSlab> {
    const { slabs } = this.#session;
    for (;;) {
      const slab = slabs.take();
      if (slab) return slab;
      await new Promise<void>((resolve) => slabs.whenFree(resolve));
    }
  }

  async #stamped(bytes: number, stamp: () => number): Promise<void> {
    const session = this.#session;
    let number = 0;
    while (number === 0) {
      while (!this.#failure && !session.admit(bytes)) await this.#woken();
      if (this.#failure) throw this.#failure;
      number = stamp();
      if (number === 0) await this.#woken();
    }
    const error: Errno = number < 0 ? (-number as Errno) : (session.commitRun() as Errno);
    if (error === errno.none) return;
    throw new JnbdError(error === errno.ENOSPC ? 'disk_full' : 'write_failed', session.errorText);
  }

  /** Resolves at the next call from the session. */
  #woken(): Promise<void> {
    if (this.#failure) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
