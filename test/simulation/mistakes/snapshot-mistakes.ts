import type { PlantedMistake } from './mistake.ts';

/** Rules 28 and 29: what snapshots need of what hosts overwrite. */
export const snapshotMistakes: readonly PlantedMistake[] = [
  {
    name: 'preserved-once-more',
    rule: 28,
    does: 'a write that waited for old blocks preserves those, too, that another one preserved meanwhile',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/snapshots/preserver.ts',
        find: 'const start = map.next(false, block, to);\n      const stop = map.next(true, start, to);',
        replace: 'const start = block;\n      const stop = read ? to : map.next(true, start, to);',
      },
    ],
  },
  {
    name: 'block-not-marked',
    rule: 28,
    does: 'a block that was preserved is not noted as such',
    profile: 'snapshots',
    edits: [
      { file: 'group/snapshots/preserver.ts', find: '        map.set(at, end);\n', replace: '' },
    ],
  },
  {
    name: 'last-block-not-preserved',
    rule: 28,
    does: 'a write that ends inside a block does not preserve it',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/snapshots/preserver.ts',
        find: 'const end = Math.min(Math.ceil((offset + length) / blockBytes), open.map.blocks);',
        replace:
          'const end = Math.min(Math.floor((offset + length) / blockBytes), open.map.blocks);',
      },
    ],
  },
  {
    name: 'zeroes-do-not-preserve',
    rule: 28,
    does: 'WRITE_ZEROES overwrites what a snapshot needs',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/order/host-session.ts',
        find: 'if (this.#group.snapshots.isPreserving && length > 0)',
        replace: "if (this.#group.snapshots.isPreserving && effect === 'trim')",
      },
    ],
  },
  {
    name: 'batch-not-marked',
    rule: 28,
    does: 'blocks that were preserved for a whole batch of writes are not noted as such',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/snapshots/ahead-preserver.ts',
        find: '          map.set(block, stop);\n',
        replace: '',
      },
    ],
  },
  {
    name: 'not-at-hand-is-nothing',
    rule: 28,
    does: 'blocks that the device would have to be asked for are preserved as zeroes',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/snapshots/ahead-preserver.ts',
        find: '    if (!isRead && !isHole(reader, volume, from, to)) return false;\n',
        replace: '',
      },
    ],
  },
  {
    name: 'old-block-of-another-snapshot',
    rule: 28,
    does: 'what was read for a snapshot that is not the newest any more is preserved in its area',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/snapshots/preserver.ts',
        find: '    this.#stampRuns(open, from, to, read);\n',
        replace: '    this.#stampRuns({ ...open, area: read.area }, from, to, read);\n',
      },
      {
        file: 'history/old-blocks.ts',
        find: 'return this.area === area && this.from <= from && to <= this.to;',
        replace: 'return area > 0 && this.from <= from && to <= this.to;',
      },
    ],
  },
  {
    name: 'snapshot-begins-when-durable',
    rule: 28,
    does: 'writes are preserved for a snapshot from the time on that it is durable',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/volumes/new-snapshot.ts',
        find: '    snapshots.changed(this.number, this.change);\n',
        replace: '    if (snapshots.list.length < 0) return;\n',
      },
      {
        file: 'group/volumes/new-snapshot.ts',
        find: '    const { snapshots, name } = this.#group;\n',
        replace:
          '    const { snapshots, name } = this.#group;\n    snapshots.changed(this.number, this.change);\n',
      },
    ],
  },
  {
    name: 'snapshot-looked-for-once',
    rule: 28,
    does: 'a reader of a snapshot does not look whether a block moved while the device brought it',
    profile: 'snapshots',
    edits: [
      {
        file: 'history/snapshot-read.ts',
        find: 'if (!this.#failure) this.#lookAgain();',
        replace: 'if (this.#failure) this.#lookAgain();',
      },
    ],
  },
  {
    name: 'map-without-the-journal',
    rule: 29,
    does: 'blocks that are preserved, and not applied yet, are not known after a restart',
    profile: 'snapshots',
    edits: [
      {
        file: 'history/preserved-map.ts',
        find: 'index.visitBlocks(area, (start, end) => map.set(start, end));',
        replace: 'if (area < 0) index.visitBlocks(area, (start, end) => map.set(start, end));',
      },
    ],
  },
  {
    name: 'bits-not-applied',
    rule: 29,
    does: 'apply writes blocks to an area, and not that they are there',
    profile: 'snapshots',
    edits: [
      {
        file: 'volume/apply.ts',
        find: '      this.#mark(file, dataBytes, step);\n',
        replace: '      if (isNaN(step.offset)) this.#mark(file, dataBytes, step);\n',
      },
    ],
  },
  {
    name: 'link-freed',
    rule: 29,
    does: 'deleting a snapshot frees what an older one needs',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/catalog/snapshots.ts',
        find: '.filter((snapshot) => snapshot.number < oldest)',
        replace: '.filter((snapshot) => snapshot.number < oldest || snapshot.number === number)',
      },
    ],
  },
];
