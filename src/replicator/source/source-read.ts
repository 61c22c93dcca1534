import { JnbdError } from '../../platform/errors.ts';
import { KiB } from '../../platform/limits.ts';
import type { BatchBuffer } from './batch-buffers.ts';
import { sendProblem } from './forwarded-requests.ts';
import { journalAnswer } from './source-answer.ts';
import { SourceBatch } from './source-batch.ts';
import type { SourceGroup } from './source-group.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceReader } from './source-reader.ts';
import { fillRanges, rangesAreDue } from './source-ranges.ts';
import { fillRecords, type RecordsEnd } from './source-records.ts';
import { endRefusal, type Refusal, refusalOf, stoppingRefusal } from './source-refusal.ts';
import type { Answer } from '../transport/transport.ts';
import { encodeJournalAnswer, type JournalRead } from '../protocol/wire.ts';

/** With less than this to its credit, no contents are sent. */
const copyCreditMin = 4 * KiB;

/** What is known may be old: nobody is told that there is nothing before that was asked once more. */
const refreshMillisecondsMax = 1000;

/** One journal read, from the request to the end of its answer. */
export class SourceRead {
  readonly #group: SourceGroup;
  readonly #journal: SourceJournal;
  readonly #reader: SourceReader;
  readonly #read: JournalRead;
  readonly #answer: Answer;
  readonly #deadline: number;
  /** Of the journal, when this was asked. */
  readonly #revision: number;
  #isGone = false;
  #wake: (() => void) | undefined;

  constructor(group: SourceGroup, reader: SourceReader, read: JournalRead, answer: Answer) {
    this.#group = group;
    this.#journal = group.journal;
    this.#reader = reader;
    this.#read = read;
    this.#answer = answer;
    this.#revision = group.journal.revision;
    this.#deadline = group.clock.monotonicMilliseconds() + read.waitMilliseconds;
    answer.whenGone(() => {
      this.#isGone = true;
      this.#wake?.();
    });
  }

  /** Resolves when everything was handed to the transport, or nobody is there any more. */
  async run(): Promise<void> {
    if (this.#isCopying) await this.#reader.inTurn(() => this.#serve());
    else await this.#serve();
  }

  get #isCopying(): boolean {
    return this.#read.copied.length > 0 || this.#read.ranges.length > 0;
  }

  #contentsAreDue(through: number): boolean {
    const { copy } = this.#reader;
    return (
      copy.isDue(this.#journal, this.#read, through) ||
      rangesAreDue(this.#journal, this.#read, through)
    );
  }

  /** What a follower that copies is given was applied here: contents show it (SAFETY 11). */
  get #limit(): number {
    const { servable, watermarks } = this.#journal;
    return this.#isCopying ? Math.min(servable, watermarks.applied) : servable;
  }

  async #serve(): Promise<void> {
    const { copy } = this.#reader;
    copy.note(this.#read);
    while (!this.#isGone) {
      const refusal = refusalOf(this.#journal, this.#reader.systemId, this.#read);
      if (refusal) {
        this.#refuse(refusal);
        return;
      }
      const { number } = this.#read.position;
      const isCopyDue = this.#contentsAreDue(number);
      const hasContents = isCopyDue && this.#group.rate.credit >= copyCreditMin;
      const hasSomething = hasContents || this.#limit > number;
      if (hasSomething && (await this.#answerBatch())) return;
      if (!hasSomething && (await this.#waitOrEnd(isCopyDue))) return;
    }
  }

  /** True: nothing came, and that was answered. */
  async #waitOrEnd(isCopyDue: boolean): Promise<boolean> {
    const end = this.#group.isStopping ? stoppingRefusal(this.#journal) : endRefusal(this.#journal);
    if (end) {
      this.#refuse(end);
      return true;
    }
    const left = this.#deadline - this.#group.clock.monotonicMilliseconds();
    if (left > 0) {
      const untilCredit = this.#group.rate.millisecondsUntil(copyCreditMin);
      await this.#news(isCopyDue ? Math.min(left, untilCredit) : left);
      return false;
    }
    const isOld = this.#journal.revision === this.#revision;
    if (isOld && left > -refreshMillisecondsMax) {
      this.#group.refresh();
      await this.#news(left + refreshMillisecondsMax);
      return false;
    }
    this.#answerNothing();
    return true;
  }

  /** False: there was nothing after all. */
  async #answerBatch(): Promise<boolean> {
    const { buffers } = this.#group;
    const buffer = await buffers.take(this.#reader);
    if (!buffer) return false;
    const giveBack = (): void => buffers.giveBack(this.#reader, buffer);
    if (this.#isGone) {
      giveBack();
      return true;
    }
    try {
      const filled = await this.#fill(buffer);
      if (filled) this.#send(filled.batch, filled.records, giveBack);
      else giveBack();
      return filled !== undefined;
    } catch (error) {
      giveBack();
      if (!(error instanceof JnbdError)) throw error;
      this.#group.noteTrouble(error.message);
      this.#refuse({ error, details: {} });
      return true;
    }
  }

  /** Records first; contents stand behind records that are all applied. Throws what can be read later. */
  async #fill(
    buffer: BatchBuffer,
  ): Promise<{ readonly batch: SourceBatch; readonly records: RecordsEnd } | undefined> {
    const journal = this.#journal;
    const { copy } = this.#reader;
    const from = this.#read.position.number;
    const batch = new SourceBatch(buffer, this.#read.batchBytes);
    const limit = this.#limit;
    if (this.#contentsAreDue(limit)) batch.reserve(Math.floor(batch.room / 2));
    let records: RecordsEnd = { through: from, segment: undefined, offset: 0 };
    if (limit > from) records = await fillRecords(journal, batch, from + 1, limit);
    batch.reserve(0);
    if (this.#contentsAreDue(records.through)) {
      const { rate } = this.#group;
      try {
        if (this.#read.copied.length > 0) await copy.fill(journal, batch, batch.room, rate);
        await fillRanges(journal, batch, this.#read, rate);
      } catch (error) {
        if (!(error instanceof JnbdError) || batch.frames === 0) throw error;
      }
    }
    return batch.frames > 0 ? { batch, records } : undefined;
  }

  #send(batch: SourceBatch, records: RecordsEnd, taken: () => void): void {
    const reader = this.#reader;
    if (records.segment) this.#group.noteTrouble(undefined);
    reader.sent = Math.max(reader.sent, records.through);
    const body = batch.finish();
    this.#answer.head(200, {
      ...this.#headers(records),
      'content-type': 'application/octet-stream',
      'content-length': String(body.length),
    });
    this.#answer.send(body, taken);
    this.#answer.end();
  }

  #answerNothing(): void {
    const { number } = this.#read.position;
    this.#answer.head(204, this.#headers({ through: number, segment: undefined, offset: 0 }));
    this.#answer.end();
  }

  #headers(records: RecordsEnd) {
    const wall = this.#group.clock.wallMilliseconds();
    const { systemId } = this.#reader;
    return encodeJournalAnswer(journalAnswer(this.#journal, this.#read, records, wall, systemId));
  }

  #refuse({ error, details }: Refusal): void {
    sendProblem(this.#answer, error, details);
  }

  #news(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => this.#wake?.();
      const timer = this.#group.clock.after(milliseconds, wake);
      const cancel = this.#group.whenNews(wake);
      this.#wake = () => {
        this.#wake = undefined;
        timer.cancel();
        cancel();
        resolve();
      };
    });
  }
}
