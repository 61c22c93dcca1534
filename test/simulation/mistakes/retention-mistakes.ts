import type { PlantedMistake } from './mistake.ts';

/** Of what is kept for systems that follow, may follow, or come back. */
export const retentionMistakes: readonly PlantedMistake[] = [
  {
    name: 'read-holds-what-it-sent-no-more',
    rule: 5,
    profile: 'fleet',
    does: 'what was sent in an answer is released, received or not',
    edits: [
      {
        file: 'replicator/source/source-worker.ts',
        find: 'this.#acknowledgements.note(groupId, reader, read);',
        replace:
          'this.#acknowledgements.note(groupId, reader, { ...read, received: Math.max(read.received, reader.sent) });',
      },
    ],
  },
  {
    name: 'released-before-it-is-in-the-map',
    rule: 13,
    profile: 'fleet',
    does: 'records are released before what they change is noted for who was left behind',
    edits: [
      {
        file: 'group/followers/dirty-maps.ts',
        find: 'if (reached.length > 0) retention.set(dirtyMapOwner, Math.min(...reached));',
        replace: '',
      },
      {
        file: 'volume/segment-updates.ts',
        find: 'if (header.number !== last + 1) throw new Error(`update ${last + 1} is not in ${path}`);',
        replace: '',
      },
    ],
  },
  {
    name: 'nothing-kept-for-siblings',
    rule: 15,
    profile: 'fleet',
    does: 'what only systems need that do not follow this one is released',
    edits: [
      {
        file: 'group/followers/floor.ts',
        find: 'const others = this.#elsewhere();',
        replace: 'const others = this.#elsewhere().slice(0, 0);',
      },
    ],
  },
  {
    name: 'promoted-and-forgot-the-others',
    rule: 18,
    profile: 'fleet',
    does: 'a promotion keeps nothing for systems that do not follow yet',
    edits: [
      {
        file: 'group/roles/promotion.ts',
        find: '  expectMembers(group, group.follow.state);\n  const lineage',
        replace: '  const lineage',
      },
    ],
  },
  {
    name: 'went-back-without-a-branch',
    rule: 19,
    profile: 'fleet',
    does: 'what stands behind the fork is not saved before the group goes back',
    edits: [
      {
        file: 'replicator/roles/rewind.ts',
        find: 'const branch = await saveBranch({ disk: system.disk, clock: group.clock }, group, files, fork);',
        replace: 'const branch = undefined;',
      },
    ],
  },
];
