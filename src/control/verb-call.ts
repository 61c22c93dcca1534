import type { AnswerLine } from './schema.ts';

/** What a caller gives with a verb that takes long. */
export interface VerbCall {
  readonly signal: AbortSignal;
  readonly progress: (progress: NonNullable<AnswerLine['progress']>) => void;
}
