import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { Random } from '../../platform/random.ts';
import type { CutAsk, CutPlace, CutTold } from '../protocol/wire-cuts.ts';
import type { Caller } from '../protocol/wire.ts';
import type { JsonAnswer } from '../protocol/wire-json.ts';
import type { ClientCredentials, IncomingRequest, Transport } from '../transport/transport.ts';
import { Cut } from './cut.ts';
import { CutFiles } from './cut-file.ts';
import {
  type CutWish,
  defineCut,
  distributeCut,
  isSameCut,
  systemsOf,
  withdrawCut,
} from './cut-creation.ts';
import { type CutAnswers, CutPeers } from './cut-peers.ts';
import { type Promotion, promoteTargets, type PromotionWish } from './cut-promotion.ts';
import { type CutReport, type LocalCut, localCut, reportCut } from './cut-report.ts';
import { answerCutRequest } from './cut-requests.ts';
import { inspectPlace, newHolds } from './place-inspection.ts';
import type { MadeMarker } from './marker-controller.ts';

export interface CutsDependencies {
  readonly system: System;
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly credentials: ClientCredentials | undefined;
  readonly beforePromote: (group: Group) => Promise<void>;
  readonly promote: (group: string, at: number) => Promise<boolean>;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

const lookMilliseconds = 500;
/** A round that another member makes: it may have to claim an epoch first. */
const forwardedMilliseconds = 10_000;

/** The cuts over several systems that groups of this system are in. */
export class Cuts {
  readonly #deps: CutsDependencies;
  readonly #files: CutFiles;
  readonly #peers: CutPeers;
  readonly #caller: Caller;
  /** By name. */
  readonly #cuts = new Map<string, Cut>();
  #timer: Timer | undefined;
  readonly #answers: CutAnswers = {
    inspect: async (cutId, ask) => this.#inspect(cutId, ask),
    define: async (_, ask) => ({ result: this.#define(ask) ? 'done' : 'already_done' }),
    remove: async (cutId) => ({ result: this.#remove(cutId) ? 'done' : 'already_done' }),
    survey: async (cutId, { isControlling }) => this.#cut(cutId).survey(isControlling),
    claim: async (cutId, ask, caller) => {
      this.#cut(cutId).members.claim(ask, caller);
      return {};
    },
    'prepare-snapshot': async (cutId, ask) => {
      await this.#cut(cutId).members.prepareSnapshot(ask);
      return {};
    },
    mark: async (cutId, ask) => ({ number: await this.#cut(cutId).members.mark(ask) }),
    told: async (cutId, ask) => ({ isHeld: await this.#cut(cutId).members.told(ask) }),
    release: async (cutId, ask) => {
      this.#cut(cutId).members.release(ask);
      return {};
    },
    commit: async (cutId, ask) => {
      await this.#cut(cutId).members.commit(ask);
      return {};
    },
    round: (cutId, { name, snapshot }) => this.#controllerOf(this.#cut(cutId)).mark(name, snapshot),
    targets: async (cutId, ask, caller) => this.#cut(cutId).targets.targets(ask, caller),
    prepare: async (cutId, ask) => {
      this.#cut(cutId).targets.prepare(ask);
      return {};
    },
    apply: async (cutId, ask) => {
      this.#cut(cutId).targets.apply(ask);
      return {};
    },
    'prepare-promotion': (cutId, ask) => this.#cut(cutId).targets.preparePromotion(ask),
    'cancel-promotion': async (cutId, ask) => {
      this.#cut(cutId).targets.cancelPromotion(ask);
      return {};
    },
    promote: async (cutId, ask) => ({
      result: (await this.#cut(cutId).targets.promote(ask)) ? 'done' : 'already_done',
    }),
  };

  /** Throws JnbdError: catalog_damaged, format_newer. Groups are held where they were. */
  constructor(deps: CutsDependencies) {
    this.#deps = deps;
    const { system, clock, transport, credentials } = deps;
    this.#caller = { systemId: system.systemId, name: system.name };
    this.#files = new CutFiles(system.disk, system.directory);
    const { answers, caller } = { answers: this.#answers, caller: this.#caller };
    this.#peers = new CutPeers({ clock, transport, credentials, caller, answers });
    for (const file of this.#files.list()) {
      this.#cuts.set(file.state.definition.name, this.#make(file));
    }
    this.#lookAgain();
  }

  start(): void {
    for (const cut of this.#cuts.values()) cut.start(false);
  }

  close(): void {
    this.#timer?.cancel();
    for (const cut of this.#cuts.values()) cut.close();
    this.#peers.close();
  }

  /** Undefined: it is about something else. */
  answer(incoming: IncomingRequest): Promise<JsonAnswer> | undefined {
    const { system } = this.#deps;
    const definition = (cutId: string) => this.#find(cutId)?.definition;
    return answerCutRequest({ system, answers: this.#answers, definition }, incoming);
  }

  /** As this system knows them, without asking anybody. */
  list(): LocalCut[] {
    const { clock } = this.#deps;
    return [...this.#cuts.values()].map((cut) => localCut(cut, clock.wallMilliseconds()));
  }

  /** False: all its systems knew it. Rejects with JnbdError, and then none knows it that did not before. */
  async create(wish: CutWish): Promise<boolean> {
    const known = this.#cuts.get(wish.name)?.definition;
    if (known && !isSameCut(known, wish)) {
      throw new JnbdError(
        'exists_differently',
        `cut ${wish.name} exists and is another one; see jnbd cut status ${wish.name}, or delete it first: jnbd cut delete ${wish.name}`,
      );
    }
    if (known) return distributeCut(this.#peers, known);
    const cutId = Buffer.from(this.#deps.random.bytes(16)).toString('hex');
    const { systemId } = this.#caller;
    return distributeCut(this.#peers, await defineCut(this.#peers, systemId, cutId, wish));
  }

  /** Those of its systems that could not be told; undefined: there is no such cut here. */
  async delete(name: string): Promise<readonly string[] | undefined> {
    const cut = this.#cuts.get(name);
    if (!cut) return undefined;
    const { definition } = cut;
    const { cutId } = definition;
    const others = systemsOf(definition).filter(
      ({ systemId }) => systemId !== this.#caller.systemId,
    );
    const untold = await withdrawCut(this.#peers, cutId, others);
    this.#remove(cutId);
    return untold.map(({ systemName }) => systemName);
  }

  /** Makes a marker now, or has the controller make it. Rejects with JnbdError: cut_aborted, cut_not_found. */
  async mark(name: string, markerName: string, snapshot?: string): Promise<MadeMarker> {
    const cut = this.#named(name);
    if (cut.controller?.isControlling) return cut.controller.mark(markerName, snapshot);
    const { definition, members } = cut;
    const known = members.controller?.systemId;
    const rank = ({ systemId }: CutPlace): number =>
      systemId === known ? 0 : systemId === this.#caller.systemId ? 1 : 2;
    const places = definition.members.toSorted((a, b) => rank(a) - rank(b));
    let failure: JnbdError | undefined;
    for (const place of places) {
      const isOwn = place.systemId === this.#caller.systemId;
      try {
        if (isOwn && cut.controller) return await cut.controller.mark(markerName, snapshot);
        const { cutId } = definition;
        const ask = { name: markerName, ...(snapshot === undefined ? {} : { snapshot }) };
        return await this.#peers.askPlace(place, cutId, 'round', ask, forwardedMilliseconds);
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        failure = error;
        // Only one that was never asked is no reason to stop: a marker was tried.
        if (error.code !== 'peer_unreachable') throw error;
      }
    }
    throw failure ?? new JnbdError('cut_aborted', `cut ${name} has no members`);
  }

  promote(name: string, wish: PromotionWish): Promise<Promotion> {
    const { definition } = this.#named(name);
    const attempt = Buffer.from(this.#deps.random.bytes(8)).toString('hex');
    return promoteTargets(definition, this.#peers, attempt, wish);
  }

  /** Asks all systems of the cut. Rejects with cut_not_found. */
  report(name: string): Promise<CutReport> {
    const { clock } = this.#deps;
    return reportCut(this.#peers, this.#named(name).definition, clock.wallMilliseconds());
  }

  names(): readonly string[] {
    return [...this.#cuts.keys()];
  }

  #lookAgain(): void {
    this.#timer = this.#deps.clock.after(lookMilliseconds, () => {
      for (const cut of this.#cuts.values()) cut.look();
      this.#lookAgain();
    });
  }

  #make(file: Cut['file']): Cut {
    return new Cut(file, { ...this.#deps, peers: this.#peers, caller: this.#caller });
  }

  #inspect(cutId: string, ask: CutAsk<'inspect'>): CutTold<'inspect'> {
    const { system } = this.#deps;
    const definitions = [...this.#cuts.values()].map(({ definition }) => definition);
    return inspectPlace(system, definitions, cutId, ask);
  }

  #define({ definition }: CutAsk<'define'>): boolean {
    const known = this.#cuts.get(definition.name)?.definition;
    if (known?.cutId === definition.cutId) return false;
    if (known) {
      throw new JnbdError(
        'exists_differently',
        `system ${this.#caller.name} has another cut named ${definition.name}`,
      );
    }
    const file = this.#files.create(definition, newHolds(this.#deps.system, definition));
    const cut = this.#make(file);
    this.#cuts.set(definition.name, cut);
    cut.start(true);
    this.#deps.event('cut_created', `cut ${definition.name} is known here`, {});
    return true;
  }

  #remove(cutId: string): boolean {
    const cut = this.#find(cutId);
    if (!cut) return false;
    const { name } = cut.definition;
    // A crash in between leaves the cut, and not a group that nobody lets go.
    cut.targets.release();
    this.#files.remove(name);
    this.#cuts.delete(name);
    cut.end();
    this.#deps.event('cut_deleted', `cut ${name} was deleted`, {});
    return true;
  }

  #find(cutId: string): Cut | undefined {
    return [...this.#cuts.values()].find(({ definition }) => definition.cutId === cutId);
  }

  /** Throws JnbdError cut_not_found. */
  #cut(cutId: string): Cut {
    const cut = this.#find(cutId);
    if (cut) return cut;
    throw new JnbdError('cut_not_found', `system ${this.#caller.name} knows no cut ${cutId}`);
  }

  /** Throws JnbdError cut_not_found. */
  #named(name: string): Cut {
    const cut = this.#cuts.get(name);
    if (cut) return cut;
    const names = this.names().join(', ') || 'none';
    throw new JnbdError('cut_not_found', `there is no cut ${name} here; there are: ${names}`);
  }

  #controllerOf(cut: Cut): NonNullable<Cut['controller']> {
    if (cut.controller) return cut.controller;
    const text = `system ${this.#caller.name} has no member of cut ${cut.definition.name}`;
    throw new JnbdError('state_refuses', text);
  }
}
