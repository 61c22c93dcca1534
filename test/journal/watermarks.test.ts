import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../src/platform/assert.ts';
import { Forecast } from '../../src/journal/forecast.ts';
import { Retention } from '../../src/journal/retention.ts';
import { Watermarks } from '../../src/journal/watermarks.ts';

function throws(run: () => void): boolean {
  try {
    run();
    return false;
  } catch (error) {
    return error instanceof InvariantError;
  }
}

describe('watermarks', () => {
  const steps = fc.array(
    fc.tuple(
      fc.constantFrom('next', 'durable', 'applied', 'released'),
      fc.integer({ min: 0, max: 40 }),
    ),
    { maxLength: 200 },
  );

  test('stay in order and never go back, whatever is asked of them', () => {
    fc.assert(
      fc.property(steps, (asked) => {
        const watermarks = new Watermarks({ released: 3, applied: 5, durable: 8 });
        const model = { released: 3, applied: 5, durable: 8, newest: 8 };
        for (const [what, value] of asked) {
          if (what === 'next') {
            model.newest += 1;
            watermarks.next();
            continue;
          }
          const [key, above, set] =
            what === 'durable'
              ? (['durable', model.newest, () => watermarks.setDurable(value)] as const)
              : what === 'applied'
                ? (['applied', model.durable, () => watermarks.setApplied(value)] as const)
                : (['released', model.applied, () => watermarks.setReleased(value)] as const);
          const isAllowed = value >= model[key] && value <= above;
          expect(throws(set)).toBe(!isAllowed);
          if (isAllowed) model[key] = value;
          const { released, applied, durable, newest } = watermarks;
          expect({ released, applied, durable, newest }).toEqual(model);
        }
      }),
    );
  });

  test('begin in order', () => {
    expect(() => new Watermarks({ released: 2, applied: 1, durable: 3 })).toThrow('invariant');
    expect(() => new Watermarks({ released: 0, applied: 4, durable: 3 })).toThrow('invariant');
  });
});

describe('retention', () => {
  const actions = fc.array(
    fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.option(fc.integer({ min: 0, max: 100 }))),
    { maxLength: 50 },
  );

  test('what is released is what nobody needs', () => {
    fc.assert(
      fc.property(actions, fc.integer({ min: 0, max: 100 }), (asked, limit) => {
        const retention = new Retention();
        const model = new Map<string, number>();
        let wentBack = true;
        for (const [owner, released] of asked) {
          if (released === null) {
            retention.drop(owner);
            model.delete(owner);
          } else if (released < (model.get(owner) ?? 0)) {
            wentBack &&= throws(() => retention.set(owner, released));
          } else {
            retention.set(owner, released);
            model.set(owner, released);
          }
          expect(retention.get(owner)).toBe(model.get(owner));
        }
        expect(wentBack).toBe(true);
        expect(retention.isHeld).toBe(model.size > 0);
        expect(retention.releasable(limit)).toBe(Math.min(limit, ...model.values()));
        const listed = retention.list().map(({ owner, released }) => [owner, released] as const);
        expect(new Map(listed)).toEqual(model);
      }),
    );
  });
});

describe('the forecast', () => {
  test('says nothing before it has seen growth', () => {
    const forecast = new Forecast();
    expect(forecast.minutesToFull(1000)).toBeNull();
    forecast.sample(0, 500);
    expect(forecast.minutesToFull(1000)).toBeNull();
    forecast.sample(1000, 500);
    expect(forecast.minutesToFull(1000)).toBeNull();
    forecast.sample(2000, 400);
    expect(forecast.minutesToFull(1000)).toBeNull();
  });

  test('goes by the last minute', () => {
    const forecast = new Forecast();
    for (let second = 0; second <= 600; second += 1) {
      // Fast for nine minutes, then 60 a minute.
      const used = second < 540 ? second * 100 : 54_000 + (second - 540);
      forecast.sample(second * 1000, used);
    }
    expect(forecast.minutesToFull(54_000 + 180)).toBeCloseTo(2);
    expect(forecast.minutesToFull(0)).toBe(0);
  });
});
