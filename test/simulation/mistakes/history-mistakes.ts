import type { PlantedMistake } from './mistake.ts';

/** Rule 30: what apply overwrites, and whoever looks at the past, need of each other. */
export const historyMistakes: readonly PlantedMistake[] = [
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
    name: 'view-of-one-more',
    rule: 30,
    does: 'a view shows the update behind its own one, where that is durable',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/views/view.ts',
        find: 'listUpdates(group, base.number, number, (record, sequence) => {',
        replace:
          'listUpdates(group, base.number, Math.min(number + 1, Reflect.get(group, "watermarks").durable), (record, sequence) => {',
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
        find: '    if (oldest) retention.set(historyOwner, oldest.number);\n',
        replace: '',
      },
    ],
  },
];
