/**
 * How a user says at which pace a system follows another one: `--pace` and `--batch-size`. What
 * follows from them is decided in `src/replicator/follower/pace.ts`.
 */
import { formatExactDuration, parseDuration } from './duration-text.ts';
import { JnbdError } from './errors.ts';
import { paceBatchBytesMax, paceBatchBytesMin } from './limits.ts';
import { formatExactSize, parseSize } from './size-text.ts';

/**
 * What an adaptive pace goes by: what the last reads brought; what the link carries; how full the own
 * journal is; how busy this system is; how full the source's journal is, and how far ahead it is.
 */
export const paceInputs = ['records', 'link', 'own-journal', 'own-load', 'source-journal'] as const;
export type PaceInput = (typeof paceInputs)[number];

export type Pace =
  /** Reads again at once, and waits at the source for what is new. */
  | { readonly mode: 'immediate' }
  /** Reads all there is, then not before this long after. */
  | { readonly mode: 'interval'; readonly intervalMilliseconds: number }
  | { readonly mode: 'adaptive'; readonly inputs: readonly PaceInput[] };

/** Bytes that one journal read asks for, fixed or adapted. */
export type BatchSize = 'adaptive' | number;

export interface PaceSettings {
  readonly pace: Pace;
  readonly batchSize: BatchSize;
}

/** Without the own load: who follows to lose nothing wants the processors for it. */
export const paceSettingsDefault: PaceSettings = {
  pace: { mode: 'adaptive', inputs: paceInputs.filter((input) => input !== 'own-load') },
  batchSize: 'adaptive',
};

const intervalMillisecondsMin = 10;
const intervalMillisecondsMax = 24 * 3_600_000;

const paceForm = 'write immediate, interval:TIME (interval:5s), adaptive, or adaptive:INPUT,INPUT';
const inputForm = `the inputs are ${paceInputs.join(', ')}`;

/** `immediate`, `interval:5s`, `adaptive` (all inputs) or `adaptive:link,own-journal`. Throws JnbdError argument_invalid. */
export function parsePace(text: string): Pace {
  const colon = text.indexOf(':');
  const mode = colon < 0 ? text : text.slice(0, colon);
  const rest = colon < 0 ? undefined : text.slice(colon + 1);
  if (mode === 'immediate' && rest === undefined) return { mode };
  if (mode === 'interval') return { mode, intervalMilliseconds: parseInterval(text, rest ?? '') };
  if (mode === 'adaptive') {
    return { mode, inputs: rest === undefined ? paceInputs : parseInputs(text, rest) };
  }
  return refuse(`'${text}' is no pace; ${paceForm}`);
}

function parseInterval(text: string, time: string): number {
  const milliseconds = parseDuration(time);
  if (milliseconds === undefined) {
    return refuse(`'${text}' has no time; write a number with ms, s, m or h, such as interval:5s`);
  }
  if (milliseconds < intervalMillisecondsMin || milliseconds > intervalMillisecondsMax) {
    const [least, most] = [intervalMillisecondsMin, intervalMillisecondsMax].map(
      formatExactDuration,
    );
    return refuse(`'${text}' is not possible; an interval is ${least} to ${most}`);
  }
  return Math.round(milliseconds);
}

/** In the order of `paceInputs`, whatever the order in the text. */
function parseInputs(text: string, list: string): readonly PaceInput[] {
  const names = list.split(',').map((name) => name.trim());
  for (const [at, name] of names.entries()) {
    if (name === '') refuse(`'${text}' has an empty input; ${inputForm}`);
    if (!(paceInputs as readonly string[]).includes(name)) {
      refuse(`'${name}' in '${text}' is no input; ${inputForm}`);
    }
    if (names.indexOf(name) !== at) refuse(`'${text}' names ${name} twice`);
  }
  return paceInputs.filter((input) => names.includes(input));
}

/** As `parsePace` takes it. */
export function formatPace(pace: Pace): string {
  switch (pace.mode) {
    case 'immediate':
      return 'immediate';
    case 'interval':
      return `interval:${formatExactDuration(pace.intervalMilliseconds)}`;
    case 'adaptive':
      return pace.inputs.length === paceInputs.length
        ? 'adaptive'
        : `adaptive:${pace.inputs.join(',')}`;
  }
}

/** `adaptive`, or a size. Throws JnbdError argument_invalid. */
export function parseBatchSize(text: string): BatchSize {
  if (text === 'adaptive') return text;
  const bytes = parseSize(text);
  if (bytes === undefined) {
    return refuse(`'${text}' is no batch size; write adaptive, or a size such as 1MiB`);
  }
  if (bytes < paceBatchBytesMin || bytes > paceBatchBytesMax) {
    const [least, most] = [paceBatchBytesMin, paceBatchBytesMax].map(formatExactSize);
    return refuse(`'${text}' is not possible; a batch is ${least} to ${most}`);
  }
  return bytes;
}

/** As `parseBatchSize` takes it. */
export function formatBatchSize(batchSize: BatchSize): string {
  return batchSize === 'adaptive' ? batchSize : formatExactSize(batchSize);
}

function refuse(message: string): never {
  throw new JnbdError('argument_invalid', message);
}
