import type { PlantedMistake } from './mistake.ts';

/** Rule 31: sums are those of what volumes hold at exactly one update. */
export const checksumMistakes: readonly PlantedMistake[] = [
  {
    name: 'redo-counts-twice',
    rule: 31,
    does: 'what a block had before is not taken off the sum where its entry stays the same, as when a batch is done again',
    profile: 'fleet',
    edits: [
      {
        file: 'volume/checksum-file.ts',
        find: '    if (before === entry) return;\n',
        replace: '    if (before === entry) this.#sum.change(block, 0, entry);\n',
      },
    ],
  },
  {
    name: 'trim-keeps-the-sum',
    rule: 31,
    does: 'the sum keeps what was there before it was given back',
    profile: 'fleet',
    edits: [
      {
        file: 'volume/checksum-file.ts',
        find: '      if (this.#isCounted(block)) this.#sum.change(block, entry, 0);\n',
        replace: '      void [block, entry];\n',
      },
    ],
  },
  {
    name: 'points-of-before-a-crash',
    rule: 31,
    does: 'points are compared while volumes may hold what comes later, as a crash left it',
    profile: 'fleet',
    edits: [
      {
        file: 'group/apply/checksum-points.ts',
        find: '    return number >= Math.max(this.#exactFrom, shows) && copies.length === 0 && !resync;\n',
        replace: '    void [copies, resync, shows];\n    return number > 0;\n',
      },
    ],
  },
  {
    name: 'batch-ends-behind-the-point',
    rule: 31,
    does: 'a secondary takes the sums of the next batch for those of a point in the middle of it',
    profile: 'fleet',
    edits: [
      {
        file: 'group/apply/checksum-points.ts',
        find: '    if (isRoom && index.freeze()) this.#points.set(number, true);\n',
        replace: '    if (isRoom) this.#points.set(number, true);\n',
      },
      {
        file: 'group/apply/checksum-points.ts',
        find: '    return this.#points.has(number);\n',
        replace: '    return [...this.#points.keys()].some((point) => point <= number);\n',
      },
      {
        file: 'group/apply/checksum-points.ts',
        find: '    const hasNews = this.#points.get(number) ?? false;\n',
        replace:
          '    const first = [...this.#points.keys()].find((point) => point <= number) ?? number;\n    const hasNews = this.#points.get(first) ?? false;\n    this.#points.delete(first);\n    if (first !== number) number = first;\n',
      },
    ],
  },
  {
    name: 'parts-of-blocks-forgotten',
    rule: 31,
    does: 'a block that is written in part keeps the checksum of before',
    profile: 'fleet',
    edits: [
      {
        file: 'volume/checksum-file.ts',
        find: '    for (const block of changes.partial) changes.put(block, this.#read(volume, block));\n',
        replace: '    changes.partial.clear();\n',
      },
    ],
  },
  {
    name: 'checksums-not-synced',
    rule: 31,
    does: 'a checkpoint lets go of records whose checksums are not on the device',
    profile: 'fleet',
    edits: [
      {
        file: 'volume/volume-checksums.ts',
        find: '    file.dataSync((failure) => {\n',
        replace: '    ((run: (error: Error | null) => void) => run(null))((failure) => {\n',
      },
    ],
  },
];
