import type { PlantedMistake } from './mistake.ts';

/** Rule 29: what clones and writable views keep in a private store. */
export const overlayMistakes: readonly PlantedMistake[] = [
  {
    name: 'written-in-part',
    rule: 29,
    does: 'what is written to the beginning of a block of a clone hides the rest of it',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/overlays/overlay-session.ts',
        find: 'const result = isFirstWhole ? covered : this.#bring(first);',
        replace: 'const result = isFirstWhole || first > 0 ? covered : this.#bring(first);',
      },
    ],
  },
  {
    name: 'durable-without-bits',
    rule: 29,
    does: 'a flush of a clone is answered once contents are on the device, before what tells of them',
    profile: 'snapshots',
    edits: [
      {
        file: 'history/private-store.ts',
        find: 'if (pages.length === 0) return this.#synced(through, bytes);',
        replace: 'if (pages.length >= 0) return this.#synced(through, bytes);',
      },
    ],
  },
  {
    name: 'freed-though-needed',
    rule: 29,
    does: 'addresses are freed that an older snapshot gives to what it needs',
    profile: 'snapshots',
    edits: [
      {
        file: 'group/snapshots/space-return.ts',
        find: 'for (const link of older.slice(Math.max(0, living))) {',
        replace: 'for (const link of older) {',
      },
    ],
  },
  {
    name: 'deleted-under-a-clone',
    rule: 29,
    does: 'a follower takes the deletion of a snapshot before its clone has what it needs of it',
    profile: 'identity',
    edits: [
      {
        file: 'group/snapshots/clones.ts',
        find: '    const [clone] = this.of(number);\n    if (!clone) return;\n',
        replace: '    const [clone] = this.of(number);\n    if (!clone || number > 0) return;\n',
      },
    ],
  },
  {
    name: 'independent-too-soon',
    rule: 29,
    does: 'a clone counts as whole with blocks that it did not take yet',
    profile: 'identity',
    edits: [
      {
        file: 'group/snapshots/clone-copy.ts',
        find: 'for (let at = block; at < stop; at += 1) store.fill(',
        replace: 'for (let at = block + 1; at < stop; at += 1) store.fill(',
      },
      {
        file: 'group/snapshots/clone-copy.ts',
        find: '      block = store.next(false, block, blocks);\n',
        replace: '      block = store.next(false, block + 1, blocks);\n',
      },
    ],
  },
];
