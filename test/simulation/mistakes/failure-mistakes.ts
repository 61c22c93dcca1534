import type { PlantedMistake } from './mistake.ts';

/** Rules 3 and 4: damage, and syncs that fail. */
export const failureMistakes: readonly PlantedMistake[] = [
  {
    name: 'damage-cut-as-torn-tail',
    rule: 3,
    does: 'a group with durable records that cannot be read opens as if they were a torn tail',
    edits: [
      {
        file: 'group/system/open-group.ts',
        find: '  if (outcome.damage) {',
        replace: '  if (outcome.damage && outcome.lastNumber < 0) {',
      },
    ],
  },
  {
    name: 'marks-not-believed',
    rule: 3,
    does: 'recovery does not look at what marks say was durable',
    edits: [
      {
        file: 'journal/scan.ts',
        find: 'if (header.type === recordType.mark) this.#durable = Math.max(this.#durable, header.number);',
        replace: '',
      },
      {
        file: 'journal/scan.ts',
        find: '    for (let at = this.#offset; ; at += header.headerBytes) {',
        replace: '    for (let at = -1; at >= 0; at += header.headerBytes) {',
      },
    ],
  },
  {
    name: 'head-not-believed',
    rule: 3,
    does: 'recovery does not look at what the head, or the catalog, says was durable',
    edits: [
      {
        file: 'group/order/recovery.ts',
        find: '    Math.max(head.durable, beforeLast),\n',
        replace: '    0,\n',
      },
    ],
  },
  {
    name: 'failed-sync-tried-again',
    rule: 4,
    does: 'a sync that failed is tried again in the same place',
    edits: [
      {
        file: 'journal/group-commit.ts',
        find: '          this.#owner.failed(failure);\n          return;',
        replace:
          '          for (const again of this.#chain.live()) again.dirty = true;\n          this.start();\n          return;',
      },
      {
        file: 'journal/group-commit.ts',
        find: '      this.#owner.failed(new AreaFailure(segment.area, error));\n      return;',
        replace: '      this.start();\n      return;',
      },
    ],
  },
  {
    name: 'recovery-believes-the-page-cache',
    rule: 4,
    does: 'recovery reads segments through the page cache',
    edits: [
      {
        file: 'journal/segment-reader.ts',
        find: 'return file.readDirectSync(',
        replace: 'return file.readSync(',
      },
    ],
  },
  {
    name: 'recovery-does-not-sync',
    rule: 4,
    does: 'recovery calls the tail durable without a sync',
    edits: [
      {
        file: 'group/order/recovery.ts',
        find: '      segment.file.dataSyncSync();',
        replace: '',
      },
    ],
  },
  {
    name: 'what-is-gone-is-read',
    rule: 4,
    does: 'a read of a record that was lost with its area shows whatever is there',
    edits: [
      {
        file: 'volume/volume-read.ts',
        find: 'if (segmentOffset + (end - start) > segment.lostFrom) {',
        replace: 'if (segment.lostFrom < 0) {',
      },
    ],
  },
  {
    name: 'checkpoint-believed-from-the-page-cache',
    rule: 4,
    profile: 'errors',
    seeds: 300,
    does: 'a checkpoint is read through the page cache',
    edits: [
      {
        file: 'journal/two-slot-file.ts',
        find: '  file.readDirectSync(bytes, 0, bytes.length, 0);',
        replace: '  file.readSync(bytes, 0, bytes.length, 0);',
      },
    ],
  },
];
