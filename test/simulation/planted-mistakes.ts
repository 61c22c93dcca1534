/**
 * Mistakes that the simulation has to find: each breaks one rule in a copy of the sources. An edit
 * whose text is not there any more is an error, so that a mistake never goes unplanted unnoticed.
 */
export interface PlantedMistake {
  readonly name: string;
  /** The rule that it breaks: a number of the safety rules, or an invariant. */
  readonly rule: string;
  readonly edits: readonly {
    /** Relative to `src`. */
    readonly file: string;
    readonly find: string;
    readonly replace: string;
  }[];
}

export const plantedMistakes: readonly PlantedMistake[] = [
  {
    name: 'sync-of-last-segment-only',
    rule: 'prefix: durable means every record before it, in every segment',
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
    rule: 'prefix: a reply to FLUSH and FUA waits for it',
    edits: [
      {
        file: 'nbd/batch-answers.ts',
        find: 'if (number <= this.#session.durable) {',
        replace: 'if (number <= this.#session.newest) {',
      },
    ],
  },
  {
    name: 'directory-entry-not-synced',
    rule: 'prefix: directory entries included',
    edits: [
      {
        file: 'group/volume-changes.ts',
        find: '    disk.syncDirectorySync(files.volumes);\n    return file;',
        replace: '    return file;',
      },
    ],
  },
  {
    name: 'roll-before-header-is-durable',
    rule: 'prefix: the next segment is durable before a record leads to it',
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
    name: 'recovery-goes-on-in-old-segment',
    rule: 'stale records: a new segment under a new incarnation',
    edits: [
      {
        file: 'journal/segment-chain.ts',
        find: '    const dropped = this.#standby ?? this.#preparing;',
        replace:
          '    const last = [...this.#bySequence.values()].at(-1);\n' +
          '    if (!this.#current && last?.area.state === "healthy" && last.lastNumber === firstNumber - 1) {\n' +
          '      this.#current = last;\n' +
          '      last.dirty = true;\n' +
          '      return last;\n' +
          '    }\n' +
          '    const dropped = this.#standby ?? this.#preparing;',
      },
    ],
  },
  {
    name: 'takeover-voids-nothing',
    rule: 'stale records: what stood at these numbers before is void',
    edits: [
      {
        file: 'journal/scan.ts',
        find: 'if (first > 0) lowest = Math.min(lowest, first);',
        replace: 'if (first < 0) lowest = Math.min(lowest, first);',
      },
    ],
  },
  {
    name: 'damage-cut-as-torn-tail',
    rule: 'damage is not a torn tail',
    edits: [
      {
        file: 'group/open-group.ts',
        find: '  if (outcome.damage) {',
        replace: '  if (outcome.damage && outcome.lastNumber < 0) {',
      },
    ],
  },
  {
    name: 'marks-not-believed',
    rule: 'damage is not a torn tail: records carry the durable number of their time',
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
    name: 'failed-sync-tried-again',
    rule: 'failed sync: never retried as if nothing had happened',
    edits: [
      {
        file: 'journal/group-commit.ts',
        find: '          this.#owner.failed(failure);\n          return;',
        replace:
          '          for (const again of segments) again.dirty = true;\n          this.start();\n          return;',
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
    rule: 'failed sync: recovery reads the tail bypassing the cache',
    edits: [
      {
        file: 'journal/segment-reader.ts',
        find: 'this.#file?.readDirectSync(',
        replace: 'this.#file?.readSync(',
      },
    ],
  },
  {
    name: 'recovery-does-not-sync',
    rule: 'failed sync: recovery syncs before it calls the tail durable',
    edits: [
      {
        file: 'group/recovery.ts',
        find: '      segment.file.dataSyncSync();',
        replace: '',
      },
    ],
  },
  {
    name: 'pinned-segment-reused',
    rule: 'pins',
    edits: [
      {
        file: 'journal/segment-chain.ts',
        find: 'if (segment.pins > 0 || segment.dirty) break;',
        replace: 'if (segment.dirty) break;',
      },
    ],
  },
  {
    name: 'release-before-checkpoint',
    rule: 'order of releasing: checkpoint synced, then release',
    edits: [
      {
        file: 'group/apply-driver.ts',
        find: 'this.#retention.releasable(this.#checkpointed)',
        replace: 'this.#retention.releasable(this.#watermarks.applied)',
      },
      {
        file: 'group/apply-driver.ts',
        find: 'this.#chain.release(this.#watermarks.released, this.#keptSequence);',
        replace: 'this.#chain.release(this.#watermarks.released, Number.POSITIVE_INFINITY);',
      },
      {
        file: 'group/apply-driver.ts',
        find: '    this.#watermarks.setApplied(table.lastNumber);',
        replace: '    this.#watermarks.setApplied(table.lastNumber);\n    this.releaseSegments();',
      },
    ],
  },
  {
    name: 'checkpoint-before-volumes-are-synced',
    rule: 'order of releasing: volume written and synced, then checkpoint',
    edits: [
      {
        file: 'volume/apply.ts',
        find: 'const dirty = this.#dirty.take();',
        replace: 'const dirty = this.#dirty.take().slice(0, 0);',
      },
    ],
  },
  {
    name: 'journal-only-released',
    rule: 'journal-only groups: nothing is released',
    edits: [
      {
        file: 'group/open-group.ts',
        find: "group.retention.set('journal-only', watermarks.released);",
        replace: '{}',
      },
      {
        file: 'group/group.ts',
        find: "this.retention.set('journal-only', this.watermarks.released);",
        replace: '',
      },
    ],
  },
  {
    name: 'nothing-owed',
    rule: 'thin space: free minus what is owed',
    edits: [
      {
        file: 'group/space-guard.ts',
        find: 'this.#freeBytes - this.#owner.owedBytes() - bytes < reserveBytes',
        replace: 'this.#freeBytes - bytes < reserveBytes',
      },
    ],
  },
  {
    name: 'zeroes-need-no-space',
    rule: 'thin space: whatever needs space gets ENOSPC when it arrives',
    edits: [
      {
        file: 'group/host-session.ts',
        find: "this.#refusal(offset, effect === 'zero' ? length : 0)",
        replace: 'this.#refusal(offset, 0)',
      },
    ],
  },
  {
    name: 'one-fragment-of-a-block',
    rule: 'extents, not blocks: two fragments of a block are both applied',
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
    rule: 'extents, not blocks: TRIM and WRITE_ZEROES are effects',
    edits: [
      {
        file: 'volume/apply.ts',
        find: '        this.#clear(file, step);',
        replace: '        if (step.kind !== nodeKind.hole) this.#clear(file, step);',
      },
    ],
  },
  {
    name: 'applied-before-durable',
    rule: 'invariant 1: applied only once durable',
    edits: [
      {
        file: 'group/apply-driver.ts',
        find: 'if (table && table.lastNumber <= this.#watermarks.durable) this.#dispatch(table);',
        replace: 'if (table) this.#dispatch(table);',
      },
      {
        file: 'group/apply-driver.ts',
        find: 'this.#watermarks.setApplied(table.lastNumber);',
        replace:
          'this.#watermarks.setApplied(Math.min(this.#watermarks.durable, table.lastNumber));',
      },
    ],
  },
  {
    name: 'reads-miss-frozen-tables',
    rule: 'invariant 3: a volume as read is file under index',
    edits: [
      {
        file: 'volume/block-index.ts',
        find: 'for (let i = this.#frozen.length - 1; i >= 0 && uncovered.count > 0; i -= 1) {',
        replace: 'for (let i = this.#frozen.length - 1; i > 0 && uncovered.count > 0; i -= 1) {',
      },
    ],
  },
];
