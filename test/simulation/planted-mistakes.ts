import { applyMistakes } from './mistakes/apply-mistakes.ts';
import { checksumMistakes } from './mistakes/checksum-mistakes.ts';
import { cutMistakes } from './mistakes/cut-mistakes.ts';
import { failureMistakes } from './mistakes/failure-mistakes.ts';
import { followMistakes } from './mistakes/follow-mistakes.ts';
import { journalMistakes } from './mistakes/journal-mistakes.ts';
import { retentionMistakes } from './mistakes/retention-mistakes.ts';
import { historyMistakes } from './mistakes/history-mistakes.ts';
import { overlayMistakes } from './mistakes/overlay-mistakes.ts';
import { snapshotMistakes } from './mistakes/snapshot-mistakes.ts';
import { synchronousMistakes } from './mistakes/synchronous-mistakes.ts';
import { verifyMistakes } from './mistakes/verify-mistakes.ts';
import type { PlantedMistake } from './mistakes/mistake.ts';

export const plantedMistakes: readonly PlantedMistake[] = [
  ...journalMistakes,
  ...failureMistakes,
  ...applyMistakes,
  ...followMistakes,
  ...retentionMistakes,
  ...synchronousMistakes,
  ...cutMistakes,
  ...snapshotMistakes,
  ...historyMistakes,
  ...overlayMistakes,
  ...verifyMistakes,
  ...checksumMistakes,
];
