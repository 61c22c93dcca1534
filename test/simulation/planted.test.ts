import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { ruleTitles } from './mistakes/mistake.ts';
import { findMistake, plant, plantedFiles } from './planted.ts';
import { plantedMistakes } from './planted-mistakes.ts';
import type { ProfileName } from './profiles.ts';
import { SeedProcess } from './seed-runner.ts';

const script = fileURLToPath(new URL('./simulate.ts', import.meta.url));

/**
 * Quick ones, each with a profile of which one of the first seeds finds it: a simulation that misses
 * one of them has gone blind.
 */
const quick: readonly (readonly [name: string, profile: ProfileName])[] = [
  ['answer-before-durable', 'crashes'],
  ['marks-not-believed', 'damage'],
  ['what-is-gone-is-read', 'errors'],
  ['checkpoint-not-synced', 'deaths'],
  ['journal-only-forgotten-by-a-restart', 'journalOnly'],
  ['sent-before-durable', 'fleet'],
  ['bits-not-applied', 'snapshots'],
  ['trim-keeps-the-sum', 'fleet'],
  ['difference-not-named', 'identity'],
];

describe('planted mistakes', () => {
  test('each can be planted, and has a name of its own', () => {
    for (const mistake of plantedMistakes) expect(plantedFiles(mistake).size).toBeGreaterThan(0);
    expect(new Set(plantedMistakes.map(({ name }) => name)).size).toBe(plantedMistakes.length);
  });

  test('there are several for every rule, and some for those of a fleet', () => {
    const rare = Object.keys(ruleTitles).filter(
      (rule) =>
        plantedMistakes.filter((mistake) => mistake.rule === Number(rule)).length <
        (Number(rule) < 10 ? 3 : 1),
    );
    expect(rare).toEqual([]);
  });

  test('a text that is not there, or twice, is an error', () => {
    expect(() => plant('a b', 'c', 'd', 'x')).toThrow(/stands there 0 times/);
    expect(() => plant('a a', 'a', 'd', 'x')).toThrow(/stands there 2 times/);
    expect(plant('a b', 'a', 'd', 'x')).toBe('d b');
  });

  test('some of them, of most rules, are found soon', async () => {
    const waiting = [...quick];
    const missed: string[] = [];
    const work = async (): Promise<void> => {
      const without = new SeedProcess();
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [name, profile] = next;
        const mistake = must(
          plantedMistakes.find((planted) => planted.name === name),
          `${name} is planted`,
        );
        const { found, failsWithout } = await findMistake(
          mistake,
          { seed: 0, count: 10, profile },
          without,
        );
        if (!found || failsWithout) missed.push(name);
      }
      without.close();
    };
    await Promise.all(Array.from({ length: availableParallelism() }, work));
    expect(missed).toEqual([]);
  });

  test('one that is not found is named, and the command fails', () => {
    const run = (...options: string[]) =>
      spawnSync(
        process.execPath,
        ['--import', import.meta.resolve('tsx'), script, '--planted', ...options],
        { encoding: 'utf8' },
      );
    // Nothing but journals of volumes that store nothing is released too soon.
    const missed = run(
      'journal-only-forgotten-by-a-restart',
      '--profile',
      'crashes',
      '--count',
      '1',
    );
    expect(missed.stdout).toContain('NOT FOUND by 1 seeds');
    expect(missed.stdout).toContain('not found: journal-only-forgotten-by-a-restart\n');
    expect(missed.stdout).toContain('0 of 1 planted mistakes were found');
    expect(missed.status).toBe(1);
    const unknown = run('no-mistake');
    expect(unknown.stderr).toContain(
      "'no-mistake' is not planted; planted are: sync-of-last-segment-only,",
    );
    expect(unknown.status).toBe(2);
  });
});
