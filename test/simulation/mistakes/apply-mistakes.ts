import type { PlantedMistake } from './mistake.ts';

/** Rules 5 to 10 and the invariants: from the journal to the volumes. */
export const applyMistakes: readonly PlantedMistake[] = [
  {
    name: 'pinned-segment-reused',
    rule: 5,
    does: 'a segment is used again while a read is under way in it',
    edits: [
      {
        file: 'journal/segment-chain.ts',
        find: 'if (segment.pins > 0 || segment.dirty) {',
        replace: 'if (segment.dirty) {',
      },
    ],
  },
  {
    name: 'reads-do-not-pin',
    rule: 5,
    does: 'a read that waits for the device does not pin the segments that it reads',
    edits: [
      {
        file: 'volume/volume-read.ts',
        find: 'if (segment) segment.pins += 1;',
        replace: '',
      },
      {
        file: 'volume/volume-read.ts',
        find: 'if (segment) segment.pins -= 1;',
        replace: '',
      },
    ],
  },
  {
    name: 'readers-hold-for-ever',
    rule: 5,
    does: 'what a reader held back is not released when it is done',
    edits: [
      {
        file: 'group/apply/apply-driver.ts',
        find: "if (!this.#chain.isReleaseHeld || this.#state === 'closed') return;",
        replace: 'if (this.#chain !== undefined) return;',
      },
    ],
  },
  {
    name: 'release-before-checkpoint',
    rule: 6,
    does: 'what is applied is released without a checkpoint',
    edits: [
      {
        file: 'group/apply/apply-driver.ts',
        find: 'this.#retention.releasable(this.#checkpointed)',
        replace: 'this.#retention.releasable(this.#watermarks.applied)',
      },
      {
        file: 'group/apply/apply-driver.ts',
        find: 'this.#chain.release(this.#watermarks.released, this.#keptSequence);',
        replace: 'this.#chain.release(this.#watermarks.released, Number.POSITIVE_INFINITY);',
      },
      {
        file: 'group/apply/apply-driver.ts',
        find: '    this.#watermarks.setApplied(table.lastNumber);',
        replace: '    this.#watermarks.setApplied(table.lastNumber);\n    this.releaseSegments();',
      },
    ],
  },
  {
    name: 'checkpoint-before-volumes-are-synced',
    rule: 6,
    does: 'a checkpoint is written without a sync of the volumes',
    edits: [
      {
        file: 'volume/volume-syncs.ts',
        find: 'const dirty = this.#dirty.take();',
        replace: 'const dirty = this.#dirty.take().slice(0, 0);',
      },
    ],
  },
  {
    name: 'checkpoint-not-synced',
    rule: 6,
    does: 'what a checkpoint covers is released before the checkpoint is synced',
    edits: [
      {
        file: 'journal/two-slot-file.ts',
        find: '    this.#file.dataSyncSync();\n    if (wasDoubtful)',
        replace: '    if (wasDoubtful)',
      },
    ],
  },
  {
    name: 'checkpoint-passes-a-catalog-change',
    rule: 6,
    profile: 'commands',
    does: 'a checkpoint passes a change that the catalog file does not have yet',
    edits: [
      {
        file: 'group/cuts/group-cuts.ts',
        find: '    return !changes.isFileBehind;',
        replace: '    return changes !== undefined;',
      },
    ],
  },
  {
    name: 'missing-volume-passed-over',
    rule: 6,
    does: 'records of a volume whose file is missing count as applied',
    edits: [
      {
        file: 'group/apply/volume.ts',
        find: '.filter((volume) => !volume.catalog.journalOnly)',
        replace: '.filter((volume) => volume.file !== undefined)',
      },
    ],
  },
  {
    name: 'journal-only-held-from-the-next-start-on',
    rule: 7,
    does: 'what a new journal-only volume is written is released until a restart',
    edits: [
      {
        file: 'group/order/group.ts',
        find: 'this.storing.add(volume.catalog.id);\n    this.followers.journalOnlyChanged();',
        replace: 'this.storing.add(volume.catalog.id);',
      },
    ],
  },
  {
    name: 'journal-only-forgotten-by-a-restart',
    rule: 7,
    does: 'what a journal-only volume is written is released after a restart',
    edits: [
      {
        file: 'group/system/open-group.ts',
        find: '  group.followers.hold();\n',
        replace: '',
      },
    ],
  },
  {
    name: 'journal-only-free-after-a-restart',
    rule: 7,
    does: 'a restart gives back segments that a journal-only volume needs',
    edits: [
      {
        file: 'group/order/recovery.ts',
        find: 'const isNeeded = isCheckpoints || first > 0;',
        replace: 'const isNeeded = isCheckpoints;',
      },
    ],
  },
  {
    name: 'nothing-owed',
    rule: 8,
    does: 'a write is accepted against all that is free, whatever is owed already',
    edits: [
      {
        file: 'group/order/space-guard.ts',
        find: 'this.#freeBytes - this.#owner.owedBytes() - bytes < reserveBytes',
        replace: 'this.#freeBytes - bytes < reserveBytes',
      },
    ],
  },
  {
    name: 'zeroes-need-no-space',
    rule: 8,
    does: 'WRITE_ZEROES that stays allocated is accepted without space for it',
    edits: [
      {
        file: 'group/order/host-session.ts',
        find: "this.#refusal(offset, effect === 'zero' ? length : 0)",
        replace: 'this.#refusal(offset, 0)',
      },
    ],
  },
  {
    name: 'failed-apply-forgotten',
    rule: 8,
    does: 'a table whose apply failed counts as applied',
    edits: [
      {
        file: 'group/apply/apply-driver.ts',
        find: "    this.#become('waiting');\n    this.#failing = true;",
        replace: "    this.#received({ kind: 'applied' });\n    if (this.#clock) return;",
      },
    ],
  },
  {
    name: 'start-waits-for-one-group',
    rule: 8,
    does: 'the start waits for a group whose apply fails',
    edits: [
      {
        file: 'group/system/open-group.ts',
        find: 'if (group.driver.isFailing) {',
        replace: 'if (group.driver.isFailing && lastNumber < 0) {',
      },
    ],
  },
  {
    name: 'one-budget-for-all',
    rule: 8,
    does: 'no group has a part of the receive memory for itself',
    edits: [
      {
        file: 'journal/receive-slab.ts',
        find: 'const kept = Math.floor(this.#slabsMax / (2 * Math.max(1, this.#budgets.size)));',
        replace: 'const kept = 0;',
      },
    ],
  },
  {
    name: 'one-fragment-of-a-block',
    rule: 9,
    does: 'a fragment of a block replaces the other fragments',
    edits: [
      {
        file: 'volume/block-table.ts',
        find: 'if (start > ((old >>> 12) & 0xfff) || end - 1 < (old & 0xfff)) break;',
        replace: 'if (old === 0 && start > end) break;',
      },
    ],
  },
  {
    name: 'trim-not-applied',
    rule: 9,
    does: 'TRIM is journaled and not applied',
    edits: [
      {
        file: 'volume/apply.ts',
        find: '        writer.clear(file, step);',
        replace: '        if (step.kind !== nodeKind.hole) writer.clear(file, step);',
      },
    ],
  },
  {
    name: 'zeroes-applied-as-holes',
    rule: 9,
    does: 'WRITE_ZEROES that is to stay allocated is applied as a hole',
    edits: [
      {
        file: 'volume/volume-writer.ts',
        find: 'if (step.kind === nodeKind.hole) file.punchHoleSync',
        replace: 'if (step.kind !== nodeKind.data) file.punchHoleSync',
      },
    ],
  },
  {
    name: 'range-hides-newer-data',
    rule: 9,
    does: 'a large TRIM or WRITE_ZEROES is applied over what was written there later',
    edits: [
      {
        file: 'volume/apply-plan.ts',
        find: 'if (inRange && place < range.place) break;',
        replace: 'if (inRange) break;',
      },
    ],
  },
  {
    name: 'end-of-a-range-lost',
    rule: 9,
    does: 'a large TRIM or WRITE_ZEROES forgets the part of a block that it ends in',
    edits: [
      {
        file: 'volume/block-table.ts',
        find: 'if (end > endWhole * blockBytes) {',
        replace: 'if (end < endWhole * blockBytes) {',
      },
    ],
  },
  {
    name: 'batch-begun-before-its-end-is-durable',
    rule: 10,
    does: 'a table is applied once its first record is durable',
    edits: [
      {
        file: 'group/apply/apply-driver.ts',
        find: 'if (table.lastNumber > this.#owner.mayApplyThrough()) return;',
        replace: 'if (this.#watermarks.applied >= this.#owner.mayApplyThrough()) return;',
      },
      {
        file: 'group/apply/apply-driver.ts',
        find: 'this.#watermarks.setApplied(table.lastNumber);',
        replace:
          'this.#watermarks.setApplied(Math.min(this.#watermarks.durable, table.lastNumber));',
      },
    ],
  },
  {
    name: 'applied-before-durable',
    rule: 'invariant 1',
    does: 'a table is applied before its last record is durable',
    edits: [
      {
        file: 'group/apply/apply-driver.ts',
        find: 'if (table.lastNumber > this.#owner.mayApplyThrough()) return;',
        replace: '',
      },
      {
        file: 'group/apply/apply-driver.ts',
        find: 'this.#watermarks.setApplied(table.lastNumber);',
        replace:
          'this.#watermarks.setApplied(Math.min(this.#watermarks.durable, table.lastNumber));',
      },
    ],
  },
  {
    name: 'reads-miss-frozen-tables',
    rule: 'invariant 3',
    does: 'reads do not look into the oldest of the frozen tables',
    edits: [
      {
        file: 'volume/block-index.ts',
        find: 'for (let i = this.#frozen.length - 1; i >= 0 && uncovered.count > 0; i -= 1) {',
        replace: 'for (let i = this.#frozen.length - 1; i > 0 && uncovered.count > 0; i -= 1) {',
      },
    ],
  },
];
