import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatExactDuration, parseDuration } from '../../src/platform/duration-text.ts';

describe('times', () => {
  it('have a unit', () => {
    expect(parseDuration('20ms')).toBe(20);
    expect(parseDuration('1.5s')).toBe(1500);
    expect(parseDuration('24h')).toBe(86_400_000);
    expect(parseDuration('20')).toBeUndefined();
    expect(parseDuration('1d')).toBeUndefined();
  });

  it('are written in the largest unit that holds them', () => {
    expect(formatExactDuration(5000)).toBe('5s');
    expect(formatExactDuration(90_000)).toBe('90s');
    expect(formatExactDuration(1500)).toBe('1500ms');
    expect(formatExactDuration(86_400_000)).toBe('24h');
    expect(formatExactDuration(0)).toBe('0ms');
  });

  it('are read back as they are written', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), (milliseconds) => {
        expect(parseDuration(formatExactDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });
});
