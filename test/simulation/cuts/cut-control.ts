import type { Fleet } from '../../replicator/fleet.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import type { CutPair } from './cut-system.ts';

/** What whoever controls a cut works in. */
export interface CutWorld {
  readonly fleet: Fleet;
  readonly pairs: readonly CutPair[];
  readonly counter: FaultCounter;
  readonly random: SimulatedRandom;
  readonly note: (text: string) => void;
  /** One number for each system: what somebody may select, and has to be consistent. */
  check(what: string, numbers: readonly number[]): void;
  /** False: it took longer. */
  readonly until: (isDone: () => boolean, milliseconds?: number) => Promise<boolean>;
  readonly pass: (milliseconds: number) => Promise<void>;
}

/** Who makes markers, and brings secondaries from one to the next. */
export interface CutControl {
  /** So many hosts write at once. */
  readonly hosts: number;
  /** Between one thing that goes wrong and the next. */
  readonly pausesMilliseconds: readonly number[];
  begin(): Promise<void>;
  /** Something goes wrong with it, or with its messages. */
  disturb(): Promise<void>;
  /** Through which update the secondary at that place may have applied. */
  allowed(at: number): number;
  /** A system is about to die. */
  beforeCrash(): void;
  /** Nothing goes wrong any more: whether markers are made, and applied. */
  settle(): Promise<boolean>;
  /** The primaries are gone: all secondaries are promoted at one marker. Its number in each. */
  promote(): Promise<readonly number[]>;
}
