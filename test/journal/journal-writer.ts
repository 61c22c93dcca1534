import { strict as assert } from 'node:assert';
import { must } from '../../src/platform/assert.ts';
import { segmentHeaderBytes } from '../../src/platform/limits.ts';
import {
  type HandmadeJournal,
  type HandmadeSegment,
  type RecordPlace,
  tear,
} from './handmade-journal.ts';

type Plain<Kind> = Kind extends string ? { readonly kind: Kind } : never;

export type Step =
  | { readonly kind: 'append'; readonly count: number }
  | Plain<'sync' | 'mark' | 'roll' | 'standby' | 'takeover' | 'checkpoint'>
  /** Which of the records that were not durable are torn, from the oldest on. */
  | { readonly kind: 'crash'; readonly torn: readonly boolean[] };

/** Writes a journal as the engine does, and knows what must be found in it. */
export class JournalWriter {
  readonly journal: HandmadeJournal;
  readonly #truth = new Map<number, { text: string; place: RecordPlace }>();
  start = { number: 0, sequence: 1, offset: segmentHeaderBytes };
  newest = 0;
  durable = 0;
  /** The highest number that the journal itself says was durable, where the scan looks. */
  told = 0;
  #incarnation = 0;
  #sequence = 0;
  #segment: HandmadeSegment;
  /** The next segment, made ahead. A new incarnation or a takeover leaves it unused. */
  #standby: HandmadeSegment | undefined;

  constructor(journal: HandmadeJournal) {
    this.journal = journal;
    this.#segment = this.#begin(1);
  }

  #prepare(): void {
    if (this.#standby) return;
    this.#sequence += 1;
    this.#standby = this.journal.segment(this.#sequence, { durable: this.durable });
    this.told = this.durable;
  }

  #begin(firstNumber: number): HandmadeSegment {
    this.#standby = undefined;
    this.#sequence += 1;
    this.#incarnation += 1;
    const { durable } = this;
    this.told = durable;
    this.#segment = this.journal.segment(this.#sequence, {
      firstNumber,
      durable,
      incarnation: this.#incarnation,
    });
    return this.#segment;
  }

  text(number: number): string {
    return must(this.#truth.get(number), `record ${number} was written`).text;
  }

  place(number: number): RecordPlace {
    return must(this.#truth.get(number), `record ${number} was written`).place;
  }

  #append(number: number, tag: string): void {
    const place = this.#segment.write(number, tag);
    this.#truth.set(number, { text: `${number}${tag}`, place });
    this.newest = number;
  }

  step(step: Step): void {
    if (step.kind === 'append') {
      for (let i = 0; i < step.count; i += 1)
        this.#append(this.newest + 1, `/${this.#incarnation}`);
    } else if (step.kind === 'sync') {
      this.durable = this.newest;
    } else if (step.kind === 'mark') {
      this.#segment.mark(this.durable);
      this.told = this.durable;
    } else if (step.kind === 'standby') {
      this.#prepare();
    } else if (step.kind === 'roll') {
      this.#prepare();
      this.#segment.roll(this.#sequence);
      this.#segment = must(this.#standby, 'a segment was prepared');
      this.#standby = undefined;
    } else if (step.kind === 'takeover') {
      this.#begin(this.durable + 1);
      for (let number = this.durable + 1; number <= this.newest; number += 1) {
        this.#append(number, this.text(number).slice(String(number).length));
      }
    } else if (step.kind === 'checkpoint') {
      if (this.durable === 0) return;
      const { segment, offset, bytes } = this.place(this.durable);
      const { sequence } = segment.header;
      this.start = { number: this.durable, sequence, offset: offset + bytes };
      const { segments } = this.journal;
      const kept = segments.filter(({ header }) => header.sequence >= sequence);
      segments.splice(0, segments.length, ...kept);
    } else {
      this.#crash(step.torn);
    }
  }

  #crash(torn: readonly boolean[]): void {
    const before = this.durable;
    for (let number = before + 1; number <= this.newest; number += 1) {
      if (torn[number - before - 1] === true) tear(this.place(number), 28);
    }
    const { lastNumber } = this.check();
    const intact = torn.slice(0, this.newest - before).indexOf(true);
    assert.equal(lastNumber, intact < 0 ? this.newest : before + intact);
    this.newest = lastNumber;
    this.durable = lastNumber;
    this.#begin(lastNumber + 1);
  }

  /** Scans, and fails where the outcome is not the prefix that must be there. */
  check(): ReturnType<HandmadeJournal['scan']> {
    const outcome = this.journal.scan(this.start);
    assert.equal(outcome.damage, undefined);
    assert.ok(outcome.lastNumber >= this.durable && outcome.lastNumber <= this.newest);
    assert.ok(outcome.durable <= Math.max(this.durable, this.start.number));
    const from = this.start.number + 1;
    const expected = Array.from({ length: outcome.lastNumber - from + 1 }, (_, at) =>
      this.text(from + at),
    );
    assert.deepEqual(outcome.said, expected);
    return outcome;
  }
}
