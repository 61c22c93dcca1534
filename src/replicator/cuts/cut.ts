import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import type { Clock } from '../../platform/clock.ts';
import type { CutDefinition, CutTold, RoundCounts } from '../protocol/wire-cuts.ts';
import type { Caller } from '../protocol/wire.ts';
import type { CutFile } from './cut-file.ts';
import type { CutPeers } from './cut-peers.ts';
import { CutTroubles } from './cut-troubles.ts';
import { cutMemberOf } from './group-cut-member.ts';
import { MarkerController } from './marker-controller.ts';
import { MemberSide } from './member-side.ts';
import { TargetController } from './target-controller.ts';
import { TargetSide } from './target-side.ts';

export interface CutDependencies {
  readonly system: System;
  readonly clock: Clock;
  readonly peers: CutPeers;
  readonly caller: Caller;
  /** Rejects with hook_refused. */
  readonly beforePromote: (group: Group) => Promise<void>;
  readonly promote: (group: string, at: number) => Promise<boolean>;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const noRounds: RoundCounts = { committed: 0, aborted: 0, lastAbort: null };

/** A cut that groups of this system take part in: its members and secondaries here, and what controls it. */
export class Cut {
  readonly file: CutFile;
  readonly members: MemberSide;
  readonly targets: TargetSide;
  /** Undefined: no member of it is here. */
  readonly controller: MarkerController | undefined;
  /** Of the target lists that a group of this system is in. */
  readonly lists: readonly TargetController[];
  readonly #troubles: CutTroubles;

  constructor(file: CutFile, deps: CutDependencies) {
    this.file = file;
    const { definition } = file.state;
    const parts = { ...deps, memberOf: cutMemberOf };
    this.members = new MemberSide(file, parts);
    this.targets = new TargetSide(file, parts);
    const [place] = this.members.places;
    const fields = { group: place?.group ?? '' };
    this.controller =
      place &&
      new MarkerController(definition, this.members, {
        ...deps,
        event: (code, message) => deps.event(code, message, fields),
      });
    const own = new Set(file.state.holds.map(({ list }) => list));
    this.lists = definition.targets
      .filter(({ name }) => own.has(name))
      .map((list) => new TargetController(definition, list, this.targets, deps));
    this.#troubles = new CutTroubles(this, deps);
  }

  get definition(): CutDefinition {
    return this.file.state.definition;
  }

  get rounds(): RoundCounts {
    return this.controller?.rounds ?? noRounds;
  }

  start(isNew: boolean): void {
    this.controller?.start(isNew);
    for (const list of this.lists) list.start(isNew);
  }

  /** Twice a second. */
  look(): void {
    this.members.look();
    this.targets.look();
    this.#troubles.look();
  }

  survey(isControlling: boolean): CutTold<'survey'> {
    if (isControlling) this.members.surveyed();
    return {
      ...this.members.survey(),
      isControlling: this.controller?.isControlling ?? false,
      rounds: this.rounds,
    };
  }

  close(): void {
    this.controller?.close();
    for (const list of this.lists) list.close();
  }

  /** It was deleted: nothing here depends on it any more. */
  end(): void {
    this.close();
    this.#troubles.end();
  }
}
