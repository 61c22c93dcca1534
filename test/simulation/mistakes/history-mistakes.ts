import type { PlantedMistake } from './mistake.ts';

/** Rule 30: what apply overwrites, and whoever looks at the past, need of each other. */
export const historyMistakes: readonly PlantedMistake[] = [
  {
    name: 'base-ahead-of-apply',
    rule: 30,
    does: 'a base begins after a start though files may be ahead of what is applied',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/views/group-history.ts',
        find: "state !== 'normal' || applied < this.#foundThrough",
        replace: "state !== 'normal'",
      },
    ],
  },
  {
    name: 'redone-not-noted',
    rule: 30,
    does: 'a base that began behind the checkpoint is believed though what is before it is applied again',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/views/stored-bases.ts',
        find: 'if (readFrom(base) <= checkpoint) return base;',
        replace: 'if (readFrom(base) <= Number.POSITIVE_INFINITY) return base;',
      },
    ],
  },
  {
    name: 'bits-before-contents',
    rule: 30,
    does: 'what was overwritten counts as saved though its contents are not on the device',
    profile: 'snapshots',
    edits: [
      {
        file: 'volume/preserved-blocks.ts',
        find: '        for (const [, files] of wanting) files.syncContents();\n',
        replace: '',
      },
    ],
  },
  {
    name: 'past-not-looked-at-again',
    rule: 30,
    does: 'what was read of a volume counts as old though it was overwritten meanwhile',
    profile: 'snapshots',
    edits: [
      {
        file: 'history/past-blocks.ts',
        find: 'for (let at = block; at < end; at += 1) if (hasBit(bits, at)) return false;\n',
        replace: '',
      },
      {
        file: 'history/view-read.ts',
        find: 'if (wasRead) this.#lookAgain(part);\n        else',
        replace: 'if (!wasRead)',
      },
    ],
  },
  {
    name: 'view-of-one-more',
    rule: 30,
    does: 'a view shows the update behind its own one, where that is durable',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/views/view.ts',
        find: 'listUpdates(group, readFrom(base), number, (record, sequence) => {',
        replace:
          'listUpdates(group, readFrom(base), Math.min(number + 1, Reflect.get(group, "watermarks").durable), (record, sequence) => {',
      },
    ],
  },
  {
    name: 'overwritten-before-saved',
    rule: 30,
    does: 'apply overwrites blocks that the newest base has not',
    profile: 'snapshots',
    edits: [
      {
        file: 'volume/base-work.ts',
        find: "    guard('history', undefined, () => this.#newest?.keep(open));\n",
        replace: '    void open;\n',
      },
    ],
  },
  {
    name: 'past-not-held',
    rule: 30,
    does: 'the journal lets go of records that the history needs',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/views/group-history.ts',
        find: '    if (oldest) retention.set(historyOwner, readFrom(oldest));\n',
        replace: '',
      },
    ],
  },
  {
    name: 'let-in-halfway',
    rule: 30,
    does: 'a start lets hosts in on volumes that are on their way back',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/apply/volume.ts',
        find: '    this.#state = catalog.state;\n    this.#rollsBackTo = catalog.rollback?.to;\n',
        replace: '    this.#state = catalog.state;\n',
      },
    ],
  },
  {
    name: 'rollback-forgotten',
    rule: 30,
    does: 'a start takes a rollback that had begun for one that has ended',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/system/rollbacks.ts',
        find: '      if (!rollback.findStage()) await gather(rollback);\n      if (standing.number === undefined) await rollback.begin();\n      await rollback.finish();\n',
        replace:
          '      rollback.findStage();\n      Object.assign(rollback, { volumes: [] });\n      await rollback.finish();\n',
      },
    ],
  },
  {
    name: 'stage-sealed-too-soon',
    rule: 30,
    does: 'volumes begin to go back before what they are to hold is on the device',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/volumes/rollback-stage.ts',
        find: '      await store.settled();\n',
        replace: '',
      },
    ],
  },
];
