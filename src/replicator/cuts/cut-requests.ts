import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import { checkCertificate } from '../peers/peer-rights.ts';
import {
  type CutAsk,
  cutAnswer,
  type CutDefinition,
  type CutExchange,
  cutExchanges,
  cutRouteOf,
  placesOfCut,
} from '../protocol/wire-cuts.ts';
import { type Caller, decodeCaller } from '../protocol/wire.ts';
import { type JsonAnswer, parseJson, problemAnswer } from '../protocol/wire-json.ts';
import type { IncomingRequest } from '../transport/transport.ts';
import { systemsOf } from './cut-creation.ts';
import type { CutAnswers } from './cut-peers.ts';

export interface CutRequestsDependencies {
  readonly system: System;
  readonly answers: CutAnswers;
  /** As this system knows it. */
  readonly definition: (cutId: string) => CutDefinition | undefined;
}

/** Undefined: it is about something else. */
export function answerCutRequest(
  deps: CutRequestsDependencies,
  incoming: IncomingRequest,
): Promise<JsonAnswer> | undefined {
  const route = cutRouteOf(incoming.method, incoming.path);
  return route && answer(deps, route.cutId, route.what, incoming);
}

async function answer(
  deps: CutRequestsDependencies,
  cutId: string,
  what: CutExchange,
  incoming: IncomingRequest,
): Promise<JsonAnswer> {
  try {
    const caller = decodeCaller(incoming.headers);
    const { ask: schema } = cutExchanges[what];
    const ask = parseJson<object>(schema, incoming.body, `what a cut asks (${what})`);
    const definition = definitionFor(deps, cutId, what, ask);
    checkRights(deps, definition, what, ask, caller, incoming);
    return cutAnswer(await deps.answers[what](cutId, ask as never, caller));
  } catch (error) {
    if (error instanceof JnbdError) return problemAnswer(error);
    throw error;
  }
}

/** Undefined: the cut does not matter. Throws JnbdError cut_not_found. */
function definitionFor(
  { definition, system }: CutRequestsDependencies,
  cutId: string,
  what: CutExchange,
  ask: object,
): CutDefinition | undefined {
  if (what === 'inspect') return undefined;
  if (what === 'define') return (ask as CutAsk<'define'>).definition;
  const known = definition(cutId);
  // It is as it should be.
  if (known || what === 'remove') return known;
  throw new JnbdError('cut_not_found', `system ${system.name} knows no cut ${cutId}`);
}

/** Throws JnbdError follower_not_allowed: what is asked is for systems of the cut, and may change all its groups here. */
function checkRights(
  { system }: CutRequestsDependencies,
  definition: CutDefinition | undefined,
  what: CutExchange,
  ask: object,
  { systemId, name }: Caller,
  { identity }: IncomingRequest,
): void {
  const places = definition ? placesOfCut(definition) : [];
  const own = places.filter((place) => place.systemId === system.systemId);
  if (what === 'define' && own.length === 0) {
    throw new JnbdError('state_refuses', `system ${system.name} has no part in that cut`);
  }
  const groups =
    what === 'inspect' ? [(ask as CutAsk<'inspect'>).group] : own.map(({ group }) => group);
  for (const group of groups) checkCertificate(identity, name, group, 'change');
  if (!definition || systemsOf(definition).some((each) => each.systemId === systemId)) return;
  throw new JnbdError(
    'follower_not_allowed',
    `system ${name} has no part in cut ${definition.name}`,
  );
}
