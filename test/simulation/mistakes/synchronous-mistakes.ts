import type { PlantedMistake } from './mistake.ts';

/** Of replies that wait for followers. */
export const synchronousMistakes: readonly PlantedMistake[] = [
  {
    name: 'stream-holds-what-it-sent-no-more',
    rule: 5,
    profile: 'synchronousFleet',
    does: 'what a stream has sent is released, received or not',
    edits: [
      {
        file: 'replicator/source/source-worker.ts',
        find: 'this.#acknowledgements.note(groupId, reader, told, true);',
        replace:
          'this.#acknowledgements.note(groupId, reader, { ...told, received: Math.max(told.received, reader.sent) }, true);',
      },
    ],
  },
  {
    name: 'one-follower-is-enough',
    rule: 23,
    profile: 'synchronousFleet',
    does: 'hosts are answered once the furthest of the followers has it',
    edits: [
      {
        file: 'group/catalog/protection.ts',
        find: '  return received[needed - 1] ?? 0;',
        replace: '  return received[needed - needed] ?? 0;',
      },
    ],
  },
  {
    name: 'gate-open-after-restart',
    rule: 23,
    profile: 'synchronousFleet',
    does: 'a primary that is started again waits for nobody',
    edits: [
      {
        file: 'group/followers/synchronous-followers.ts',
        find: "const rules = role === 'primary' ? rulesOf(catalog.protection) : [];",
        replace: "const rules = role === 'diverged' ? rulesOf(catalog.protection) : [];",
      },
    ],
  },
  {
    name: 'ahead-counts-at-once',
    rule: 22,
    profile: 'synchronousFleet',
    does: 'what comes ahead of the sync of its source is applied, shown and sent on as if it were durable there',
    edits: [
      {
        file: 'replicator/follower/source-confirmations.ts',
        find: '  replies.setConfirmed(durable);\n  tellWatchers(group);',
        replace: '  replies.confirmAll();\n  tellWatchers(group);',
      },
    ],
  },
  {
    name: 'held-updates-applied',
    rule: 24,
    profile: 'synchronousFleet',
    does: 'what hosts were not answered is applied, and read from the file',
    edits: [
      {
        file: 'group/order/group.ts',
        find: 'this.changes.settledThrough(this.replies.applicable)',
        replace: 'this.changes.settledThrough(this.watermarks.durable)',
      },
    ],
  },
];
