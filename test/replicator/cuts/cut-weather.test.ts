import { expect, test } from 'vitest';
import { CutFleet, cutName } from './cut-fleet.ts';

test.each([1, 2, 3, 4])(
  'links that break and systems that die leave no write without the one that it followed (seed %i)',
  async (seed) => {
    const cut = await CutFleet.begin(`weather ${seed}`);
    const { fleet, gamma, delta, systems } = cut;
    await cut.create({ interval: '20ms' });
    await cut.untilLevel();
    const below = (limit: number): number => Math.floor(fleet.random.fraction() * limit);
    for (let round = 0; round < 6; round += 1) {
      fleet.links.breaksPerThousand = 60;
      await cut.pingPong(15 + below(15));
      const victim = systems[below(systems.length)];
      const other = systems[below(systems.length)];
      if (victim && other && victim !== other) {
        fleet.links.cut(victim.host, other.host, 'silent');
        await cut.pingPong(5 + below(10));
        fleet.links.mend(victim.host, other.host);
      }
      victim?.kill();
      await cut.pass(below(6000));
      await victim?.start();
    }
    fleet.links.breaksPerThousand = 0;
    await cut.untilLevel();
    fleet.links.breaksPerThousand = 60;
    await cut.pingPong(20);
    cut.alpha.kill();
    cut.beta.kill();
    fleet.links.breaksPerThousand = 0;
    await cut.pass(3000);
    await gamma.verb('cut promote', { cut: cutName, targets: 'east' });
    const [a, b] = await cut.held(gamma, delta);
    expect(Math.abs(a - b), `${a} and ${b}`).toBe(1);
    expect(a).toBeGreaterThan(50);
  },
);
