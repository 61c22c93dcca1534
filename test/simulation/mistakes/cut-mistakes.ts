import type { PlantedMistake } from './mistake.ts';

/** Of markers, what is held behind them, and how far secondaries apply. */
export const cutMistakes: readonly PlantedMistake[] = [
  {
    name: 'marker-holds-nothing',
    rule: 25,
    profile: 'cuts',
    does: 'hosts are answered what is numbered behind a marker before every system has its own',
    edits: [
      {
        file: 'replicator/cuts/group-cut-member.ts',
        find: '      // Before anything is numbered behind it.\n      this.#hold();',
        replace: '      // Before anything is numbered behind it.',
      },
    ],
  },
  {
    name: 'broken-round-says-yes',
    rule: 25,
    profile: 'cuts',
    does: 'a member whose time was over says that it held, to a controller that waits longer',
    edits: [
      {
        file: 'replicator/cuts/member-round.ts',
        find: "return this.#state === 'held' || this.#state === 'committed';",
        replace: "return this.#state !== 'marked';",
      },
      {
        file: 'replicator/cuts/marker-controller.ts',
        find: "this.#phase(round, 'mark', marker, roundLimitMilliseconds)",
        replace: "this.#phase(round, 'mark', marker, surveyMilliseconds)",
      },
    ],
  },
  {
    name: 'commits-against-a-no',
    rule: 25,
    profile: 'cuts',
    does: 'a round is committed although a member said no',
    edits: [
      {
        file: 'replicator/cuts/controller-round.ts',
        find: "if (refusal !== undefined && phase !== 'committing') {",
        replace: "if (refusal !== undefined && phase === 'claiming') {",
      },
    ],
  },
  {
    name: 'held-writes-are-read',
    rule: 24,
    profile: 'cuts',
    does: 'a second host reads a write that is held behind a marker',
    edits: [
      {
        file: 'group/order/host-replies.ts',
        find: 'return this.#gate.isActive && this.#held.overlaps(volume, offset, length);',
        replace: 'return length < 0 && this.#held.overlaps(volume, offset, length);',
      },
    ],
  },
  {
    name: 'held-writes-are-sent',
    rule: 25,
    profile: 'cuts',
    does: 'a host reads from a secondary what is held behind a marker at the primary',
    edits: [
      {
        file: 'group/order/reply-gate.ts',
        find: 'return Math.min(this.#durable, this.#heldBehind, this.#confirmed);',
        replace: 'return Math.min(this.#durable, this.#confirmed);',
      },
      {
        file: 'replicator/source/source-feed.ts',
        find: 'Math.min(replies.gate.heldBehind, Math.max(durable, retained.lastNumber))',
        replace: 'Math.max(durable, retained.lastNumber)',
      },
    ],
  },
  {
    name: 'marker-taken-twice',
    rule: 26,
    profile: 'cuts',
    does: 'a marker that arrives twice is numbered twice',
    edits: [
      {
        file: 'replicator/cuts/group-cut-member.ts',
        find: 'if (!newest || compareMarkers(marker, newest) > 0) return;',
        replace: 'if (!newest || marker.epoch >= newest.epoch) return;',
      },
      {
        file: 'replicator/cuts/member-side.ts',
        find: 'if (sequence <= (this.#sequences.get(groupId) ?? 0n)) {',
        replace: 'if (sequence < (this.#sequences.get(groupId) ?? 0n)) {',
      },
    ],
  },
  {
    name: 'promised-epoch-not-durable',
    rule: 26,
    profile: 'cuts',
    does: 'a member forgets with its process which epoch it promised',
    edits: [
      {
        file: 'replicator/cuts/member-side.ts',
        find: '    this.#file.change({ promised: epoch.toString() });\n',
        replace: '',
      },
    ],
  },
  {
    name: 'hold-forgotten-by-a-restart',
    rule: 27,
    profile: 'cuts',
    does: 'a secondary that is started again applies what its target list holds back',
    edits: [
      {
        file: 'group/cuts/group-cuts.ts',
        find: 'if (group.catalog.holdsApply === true)',
        replace: 'if (group.catalog.holdsApply === false)',
      },
    ],
  },
  {
    name: 'batch-beyond-the-target',
    rule: 27,
    profile: 'cuts',
    does: 'a batch that begins before the target and ends behind it is applied',
    edits: [
      {
        file: 'group/apply/apply-driver.ts',
        find: '    if (!table || table.lastNumber > heldBehind) return;',
        replace: '    if (!table) return;',
      },
      {
        file: 'group/apply/apply-driver.ts',
        find: '    const isHeld = active.lastNumber > heldBehind;',
        replace: '    const isHeld = this.#watermarks.applied >= heldBehind;',
      },
    ],
  },
  {
    name: 'applies-what-others-do-not-have',
    rule: 27,
    profile: 'cuts',
    does: 'a secondary applies towards a target that was not given to all',
    edits: [
      {
        file: 'replicator/cuts/target-choice.ts',
        find: "return { kind: 'prepare', marker, places: unprepared };",
        replace: "return { kind: 'prepare', marker, places: unprepared.slice(0, 1) };",
      },
    ],
  },
];
