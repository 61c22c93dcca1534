import {
  agreesAt,
  generationOf,
  type Lineage,
  type Position,
  stretchOf,
} from '../../group/catalog/lineage.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { SourceJournal } from './source-journal.ts';
import type { JournalRead } from '../protocol/wire.ts';
import type { ProblemDetails } from '../protocol/wire-json.ts';

export interface Refusal {
  readonly error: JnbdError;
  readonly details: ProblemDetails;
}

/** Why a follower is given nothing, whatever there is. Undefined: it may read on. */
export function refusalOf(
  journal: SourceJournal,
  systemId: number,
  { position }: Pick<JournalRead, 'position'>,
): Refusal | undefined {
  const { picture, watermarks } = journal;
  const { name, lineage, role, state } = picture;
  if (!picture.isReadable) return stateRefusal(journal);
  const follower = picture.followers.find((known) => known.systemId === systemId);
  if (!follower) {
    const text = `system ${systemId} does not follow group ${name} here; it has to register first`;
    return refuse('follower_not_found', text);
  }
  if (follower.state === 'suspended') {
    const text = `follower ${follower.name} of group ${name} is suspended here`;
    return refuse('group_state', text, { state: 'suspended' });
  }
  if (role === 'diverged') {
    return refuse('group_state', `group ${name} is diverged here`, { state: role });
  }
  if (position.generation > generationOf(lineage)) {
    return refuse(
      'generation_newer',
      `follower ${follower.name} of group ${name} has generation ${position.generation}; here it is ${generationOf(lineage)}`,
      { lineage: [...lineage] },
    );
  }
  // One that is behind itself may not have heard of a later stretch yet.
  const isAhead = role === 'secondary' && position.number > watermarks.durable;
  const mayBeLater = isAhead && !isEarlier(lineage, position);
  // Sent ahead of its sync, and lost with the power: the number will be another update's here.
  const newest = Math.max(watermarks.newest, journal.durableNow);
  const isLost = role === 'primary' && position.number > newest;
  if (isLost || (!mayBeLater && !agreesAt(lineage, position))) {
    return refuse(
      'diverged',
      `follower ${follower.name} of group ${name} has another update ${position.number} than there is here`,
      { lineage: [...lineage] },
    );
  }
  const oldest = watermarks.released + 1;
  if (follower.state === 'behind' || position.number < watermarks.released) {
    return refuse(
      'position_released',
      `follower ${follower.name} needs group ${name} from update ${position.number + 1} on; kept are those from ${oldest} on${state === 'normal' ? '' : `, and the group is ${state}`}`,
      { oldest },
    );
  }
  return undefined;
}

/** The stretch of that position is over here before its number: what it has there is of another history. */
function isEarlier(lineage: Lineage, { generation, incarnation, number }: Position): boolean {
  const own = stretchOf(lineage, number);
  if (!own || own.generation > generation) return own !== undefined;
  return lineage.some(
    (stretch) =>
      stretch !== own && stretch.generation === generation && stretch.incarnation === incarnation,
  );
}

/** What there is was given, and more may not come: the state that the follower takes over (K16). */
export function endRefusal(journal: SourceJournal): Refusal | undefined {
  return journal.picture.state === 'normal' ? undefined : stateRefusal(journal);
}

/** Nothing more is to come: the system stops. */
export function stoppingRefusal({ picture: { name } }: SourceJournal): Refusal {
  return refuse('shutting_down', `group ${name} is served no longer: the system stops`);
}

function stateRefusal({ picture: { name, state, stateText } }: SourceJournal): Refusal {
  const text = stateText === '' ? `group ${name} is ${state}` : stateText;
  if (state === 'closing' || state === 'closed') return refuse('shutting_down', text);
  return refuse('group_state', text, { state });
}

function refuse(
  code: ConstructorParameters<typeof JnbdError>[0],
  message: string,
  details: ProblemDetails = {},
): Refusal {
  return { error: new JnbdError(code, message), details };
}
