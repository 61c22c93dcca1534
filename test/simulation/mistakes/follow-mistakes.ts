import type { PlantedMistake } from './mistake.ts';

/** Rules about systems that follow each other: a fleet finds them. */
export const followMistakes: readonly PlantedMistake[] = [
  {
    name: 'sent-before-durable',
    rule: 1,
    profile: 'fleet',
    does: 'followers are given records that are not durable yet',
    edits: [
      {
        file: 'replicator/source/source-feed.ts',
        find: 'if (!changes.isFileBehind || !last) return durable;',
        replace: 'if (!changes.isFileBehind || !last) return this.#group.watermarks.newest;',
      },
    ],
  },
  {
    name: 'hold-of-a-follower-does-not-hold',
    rule: 'invariant 5',
    profile: 'fleet',
    does: 'records are released that a registered follower has not received',
    edits: [
      {
        file: 'group/followers/follower-holds.ts',
        find: 'retention.set(owner, Math.max(before, follower[this.rule]));',
        replace: 'retention.set(owner, Math.max(before, watermarks.durable));',
      },
    ],
  },
  {
    name: 'records-ahead-of-contents',
    rule: 11,
    profile: 'fleet',
    does: 'who copies is given records that the contents behind them do not show yet',
    edits: [
      {
        file: 'replicator/source/source-read.ts',
        find: 'return this.#isCopying ? Math.min(servable, watermarks.applied) : servable;',
        replace: 'return watermarks.applied >= 0 ? servable : 0;',
      },
      {
        file: 'replicator/source/source-contents.ts',
        find: '  return watermarks.applied >= through;',
        replace: '  return watermarks.applied >= 0 || through > 0;',
      },
    ],
  },
  {
    name: 'contents-show-more-than-they-say',
    rule: 11,
    profile: 'fleet',
    does: 'contents say that they show nothing newer than what is applied',
    edits: [
      {
        file: 'replicator/source/source-contents.ts',
        find: '    shows,\n    generation,\n    incarnation,',
        replace: '    shows: 0,\n    generation: 0,\n    incarnation: 0,',
      },
    ],
  },
  {
    name: 'contents-of-another-history',
    rule: 11,
    profile: 'fleet',
    does: 'what contents show is taken for what the source has that is followed now',
    edits: [
      {
        file: 'group/volumes/shown-contents.ts',
        find: 'const isToCome = position.number > newest;',
        replace:
          'const isToCome = position.number > newest;\n  if (lineage.length >= 0) return false;',
      },
    ],
  },
  {
    name: 'promoted-with-half-a-copy',
    rule: 11,
    profile: 'fleet',
    does: 'a system whose contents are not complete can be promoted',
    edits: [
      {
        file: 'group/roles/promotion.ts',
        find: '  if (copies.length > 0) {',
        replace: '  if (copies.length < 0) {',
      },
    ],
  },
  {
    name: 'resync-without-what-changed',
    rule: 12,
    profile: 'fleet',
    does: 'a follower that was left behind gets nothing of what changed meanwhile',
    edits: [
      {
        file: 'group/followers/changed-regions.ts',
        find: 'regions.addAll(await scan(group, segments, done, to));',
        replace: 'await scan(group, segments, done, to);',
      },
    ],
  },
  {
    name: 'left-behind-in-silence',
    rule: 14,
    profile: 'fleet',
    does: 'nobody is told that a follower was left behind',
    edits: [
      {
        file: 'group/followers/followers.ts',
        find: 'this.#raiseBehind(cursor);\n    this.#letGo(systemId);',
        replace: 'this.#letGo(systemId);',
      },
    ],
  },
  {
    name: 'the-nearest-is-left-behind',
    rule: 14,
    profile: 'fleet',
    does: 'a full journal leaves the follower behind that holds least back',
    edits: [
      {
        file: 'group/followers/follower-holds.ts',
        find: '(lowest && lowest[rule] <= each[rule] ? lowest : each)',
        replace: '(lowest && lowest[rule] >= each[rule] ? lowest : each)',
      },
    ],
  },
  {
    name: 'giver-stays-primary',
    rule: 16,
    profile: 'fleet',
    does: 'who handed a group over goes on as its primary',
    edits: [
      {
        file: 'group/catalog/catalog.ts',
        find: "return { ...catalog, number, role: 'secondary', handedOver, protection };",
        replace: 'return { ...catalog, number, handedOver, protection };',
      },
    ],
  },
  {
    name: 'promoted-though-handed-over',
    rule: 16,
    profile: 'fleet',
    does: 'who is not the heir can be promoted without force',
    edits: [
      {
        file: 'group/roles/promotion.ts',
        find: '  if (handedOver && handedOver.to !== systemId) {',
        replace: '  if (handedOver && handedOver.to < 0) {',
      },
    ],
  },
  {
    name: 'late-heir-asks-nobody',
    rule: 16,
    profile: 'fleet',
    does: 'who reads late that a group is its own takes over without asking who has it',
    edits: [
      {
        file: 'replicator/roles/inheritance.ts',
        find: "if (!isWhole(group, this.#system.systemId)) return 'wait';",
        replace: "return isWhole(group, this.#system.systemId) ? 'confirmed' : 'wait';",
      },
    ],
  },
  {
    name: 'generation-not-written',
    rule: 17,
    profile: 'fleet',
    does: 'a promotion is not on the device before hosts write',
    edits: [
      {
        file: 'group/order/catalog-changes.ts',
        find: '    writeCatalog(this.#disk, this.#path, catalog);\n    this.#catalog = catalog;',
        replace:
          "    if (catalog.role !== 'primary') writeCatalog(this.#disk, this.#path, catalog);\n    this.#catalog = catalog;",
      },
    ],
  },
  {
    name: 'generation-not-counted',
    rule: 17,
    profile: 'fleet',
    does: 'a promotion goes on in the generation that there was',
    edits: [
      {
        file: 'group/roles/promotion.ts',
        find: 'takenOver?.generation ?? 0) + 1,',
        replace: 'takenOver?.generation ?? 0),',
      },
    ],
  },
  {
    name: 'closed-group-goes-on-writing',
    rule: 12,
    profile: 'fleet',
    does: 'who waited while a journal began anew replaces its catalog by the one from before',
    edits: [
      {
        file: 'group/order/catalog-changes.ts',
        find: '    if (this.#isClosing) throw closedGroup(this.#path);',
        replace: '',
      },
      {
        file: 'group/followers/follower-record.ts',
        find: '    if (this.#isClosed) throw closedGroup(this.#path);',
        replace: '',
      },
      {
        file: 'replicator/peers/secondaries.ts',
        find: '    const now = this.#system.group(name);',
        replace: '    const now = group;',
      },
    ],
  },
  {
    name: 'everybody-may-follow',
    rule: 20,
    profile: 'fleet',
    does: 'systems follow that nobody allowed to',
    edits: [
      {
        file: 'replicator/peers/admission.ts',
        find: '  if (isLocal || isNamed) return;',
        replace: "  if (isLocal || isNamed || name !== '') return;",
      },
    ],
  },
  {
    name: 'other-history-admitted',
    rule: 21,
    profile: 'fleet',
    does: 'a follower with another history goes on as if it were the same',
    edits: [
      {
        file: 'replicator/peers/admission.ts',
        find: '  if (!isLost && agreesAt(own, position)) return;',
        replace: '  if (agreesAt(own, position) || position.number >= 0) return;',
      },
      {
        file: 'replicator/source/source-refusal.ts',
        find: '  if (isLost || (!mayBeLater && !agreesAt(lineage, position))) {',
        replace: '  if (!mayBeLater && !agreesAt(lineage, position) && position.number < 0) {',
      },
    ],
  },
  {
    name: 'stretch-not-checked',
    rule: 21,
    profile: 'fleet',
    does: 'a follower takes records of a stretch that it does not know',
    edits: [
      {
        file: 'replicator/follower/answer-body.ts',
        find: 'if (isSame && stretch === stretchOf(lineage, last)) return;',
        replace: 'if (isSame || last > 0) return;',
      },
      {
        file: 'replicator/peers/admission.ts',
        find: '  if (!isLost && agreesAt(own, position)) return;',
        replace: '  if (agreesAt(own, position) || position.number >= 0) return;',
      },
      {
        file: 'replicator/source/source-refusal.ts',
        find: '  if (isLost || (!mayBeLater && !agreesAt(lineage, position))) {',
        replace: '  if (!mayBeLater && !agreesAt(lineage, position) && position.number < 0) {',
      },
    ],
  },
];
