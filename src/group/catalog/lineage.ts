import { assert } from '../../platform/assert.ts';

/**
 * Who wrote which update numbers first: numbers from `firstNumber` on, up to the next stretch, were
 * given by `system` in `generation`, while its journal was open under `incarnation`. A primary adds a
 * stretch at every opening; a follower takes over its source's. Two systems that have a number in the
 * same stretch have the same record there, and the same ones before it.
 */
export interface Stretch {
  readonly generation: number;
  readonly system: number;
  /** Random for each opening. */
  readonly incarnation: number;
  readonly firstNumber: number;
}

/** In order of first number, which rises from stretch to stretch. */
export type Lineage = readonly Stretch[];

/** A place in the history of a group. Number 0, before any history: generation and incarnation are 0. */
export interface Position {
  readonly generation: number;
  readonly incarnation: number;
  readonly number: number;
}

export function stretchOf(lineage: Lineage, number: number): Stretch | undefined {
  return lineage.findLast(({ firstNumber }) => firstNumber <= number);
}

export function positionOf(lineage: Lineage, number: number): Position {
  const stretch = stretchOf(lineage, number);
  return {
    generation: stretch?.generation ?? 0,
    incarnation: stretch?.incarnation ?? 0,
    number,
  };
}

/** Whether the position is one of this history: everything up to it is the same there and here. */
export function agreesAt(lineage: Lineage, position: Position): boolean {
  const own = positionOf(lineage, position.number);
  return own.generation === position.generation && own.incarnation === position.incarnation;
}

/** Numbers from `stretch.firstNumber` on are its. One in which nothing was numbered is replaced. */
export function extendLineage(lineage: Lineage, stretch: Stretch): Lineage {
  const last = lineage.at(-1);
  if (last) {
    assert(
      stretch.firstNumber >= last.firstNumber && stretch.generation >= last.generation,
      `generation ${stretch.generation} from ${stretch.firstNumber} follows ${last.generation} from ${last.firstNumber}`,
    );
  }
  const isEmpty = last !== undefined && last.firstNumber === stretch.firstNumber;
  return [...(isEmpty ? lineage.slice(0, -1) : lineage), stretch];
}

/** A primary says where its own stretch begins once what stands before is synced; 0: it was none. */
export function durableAtLastOpening(lineage: Lineage, system: number): number {
  const last = lineage.at(-1);
  return last?.system === system ? last.firstNumber - 1 : 0;
}

/** What a follower knows once it has numbers up to `newest`: stretches that begin later are no part of it. */
export function lineageThrough(lineage: Lineage, newest: number): Lineage {
  return lineage.filter(({ firstNumber }) => firstNumber <= newest);
}

/**
 * The highest number up to which two histories are the same, where one system has numbers up to
 * `newestA` and the other up to `newestB`. 0: they have nothing in common.
 */
export function forkOf(a: Lineage, newestA: number, b: Lineage, newestB: number): number {
  const heldA = lineageThrough(a, newestA);
  const heldB = lineageThrough(b, newestB);
  const shared = Math.min(newestA, newestB);
  const length = Math.max(heldA.length, heldB.length);
  for (let i = 0; i < length; i += 1) {
    const one = heldA[i];
    const other = heldB[i];
    if (one && other && isSame(one, other)) continue;
    const first = Math.min(one?.firstNumber ?? newestA + 1, other?.firstNumber ?? newestB + 1);
    return Math.min(shared, first - 1);
  }
  return shared;
}

function isSame(a: Stretch, b: Stretch): boolean {
  return (
    a.generation === b.generation &&
    a.system === b.system &&
    a.incarnation === b.incarnation &&
    a.firstNumber === b.firstNumber
  );
}

/** The generation that new numbers belong to. */
export function generationOf(lineage: Lineage): number {
  return lineage.at(-1)?.generation ?? 1;
}
