import { describe, expect, test } from 'vitest';
import { ruleTitles } from './mistakes/mistake.ts';
import { plant, plantedFiles } from './planted.ts';
import { plantedMistakes } from './planted-mistakes.ts';

describe('planted mistakes', () => {
  test('each can be planted, and has a name of its own', () => {
    for (const mistake of plantedMistakes) expect(plantedFiles(mistake).size).toBeGreaterThan(0);
    expect(new Set(plantedMistakes.map(({ name }) => name)).size).toBe(plantedMistakes.length);
  });

  test('there are several for every rule', () => {
    const rare = Object.keys(ruleTitles).filter(
      (rule) => plantedMistakes.filter((mistake) => mistake.rule === Number(rule)).length < 3,
    );
    expect(rare).toEqual([]);
  });

  test('a text that is not there, or twice, is an error', () => {
    expect(() => plant('a b', 'c', 'd', 'x')).toThrow(/stands there 0 times/);
    expect(() => plant('a a', 'a', 'd', 'x')).toThrow(/stands there 2 times/);
    expect(plant('a b', 'a', 'd', 'x')).toBe('d b');
  });
});
