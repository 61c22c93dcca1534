import type { PlantedMistake } from './mistake.ts';

/** Rules 1 and 2: what is durable, and what is void. */
export const journalMistakes: readonly PlantedMistake[] = [
  {
    name: 'sync-of-last-segment-only',
    rule: 1,
    does: 'a sync leaves out every segment but the last',
    edits: [
      {
        file: 'journal/group-commit.ts',
        find: 'if (segment.dirty) segments.push(segment);',
        replace: 'if (segment.dirty && segment === this.#chain.current) segments.push(segment);',
      },
    ],
  },
  {
    name: 'answer-before-durable',
    rule: 1,
    does: 'FLUSH and FUA are answered once the records are appended',
    edits: [
      {
        file: 'nbd/batch-answers.ts',
        find: 'if (number <= this.#session.answerable) {',
        replace: 'if (number <= this.#session.newest) {',
      },
    ],
  },
  {
    name: 'directory-entry-not-synced',
    rule: 1,
    does: "a new volume's directory entry is not synced before the catalog names it",
    edits: [
      {
        file: 'group/volumes/volume-changes.ts',
        find: '    disk.syncDirectorySync(files.volumes);\n    return file;',
        replace: '    return file;',
      },
    ],
  },
  {
    name: 'roll-before-header-is-durable',
    rule: 1,
    does: 'the journal goes on in a segment whose header is not durable',
    edits: [
      {
        file: 'journal/segment-chain.ts',
        find: '    segment.file.dataSync((error) => {\n      if (this.#preparing !== segment) return;',
        replace:
          '    segment.dirty = false;\n    this.#clock.soon(() => {\n      const error = null as Error | null;\n      if (this.#preparing !== segment) return;',
      },
    ],
  },
  {
    name: 'sync-covers-what-is-stamped',
    rule: 1,
    does: 'a sync counts for records that were only numbered when it began',
    edits: [
      {
        file: 'journal/group-commit.ts',
        find: 'return Math.max(this.#watermarks.durable, this.#retained.lastNumber);',
        replace: 'return this.#watermarks.newest;',
      },
    ],
  },
  {
    name: 'recovery-goes-on-in-old-segment',
    rule: 2,
    does: 'recovery appends to the segment that the last life ended in',
    edits: [
      {
        file: 'journal/segment-chain.ts',
        find: '    this.dropStandby();\n    const area',
        replace:
          '    const last = [...this.#bySequence.values()].at(-1);\n' +
          '    if (!this.#current && last?.area.state === "healthy" && last.lastNumber === firstNumber - 1) {\n' +
          '      this.#current = last;\n' +
          '      last.dirty = true;\n' +
          '      return last;\n' +
          '    }\n' +
          '    this.dropStandby();\n    const area',
      },
    ],
  },
  {
    name: 'takeover-voids-nothing',
    rule: 2,
    does: 'what stood behind the numbers at which another segment takes over still counts',
    edits: [
      {
        file: 'journal/scan.ts',
        find: 'if (first > 0) lowest = Math.min(lowest, first);',
        replace: 'if (first < 0) lowest = Math.min(lowest, first);',
      },
    ],
  },
  {
    name: 'sequence-given-twice',
    rule: 2,
    does: 'a segment that was begun and given up leaves its sequence to the next one',
    edits: [
      {
        file: 'journal/segment-chain.ts',
        find: '    this.#nextSequence += 1;\n',
        replace: '',
      },
      {
        file: 'journal/segment-chain.ts',
        find: '    this.#bySequence.set(segment.header.sequence, segment);\n    this.#current = segment;',
        replace:
          '    this.#bySequence.set(segment.header.sequence, segment);\n' +
          '    this.#nextSequence = segment.header.sequence + 1;\n    this.#current = segment;',
      },
    ],
  },
  {
    name: 'takeover-header-before-its-records',
    rule: 2,
    does: 'the header of a takeover is written before the records that move',
    edits: [
      {
        file: 'journal/move-run.ts',
        find: "chain.begin(firstNumber, durable, 'moved records');",
        replace:
          "chain.begin(firstNumber, durable, 'moved records');\n    if (segment) chain.writeHeader(segment);",
      },
    ],
  },
];
