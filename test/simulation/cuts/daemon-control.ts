import { must } from '../../../src/platform/assert.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import { calmWeather } from '../simulated-links.ts';
import type { CutControl, CutWorld } from './cut-control.ts';
import { SeenMarkers } from './seen-markers.ts';
import { cutGroup } from './cut-system.ts';

const cutName = 'all';
const surveyMilliseconds = 4;
/** Somebody takes over after three seconds and more. */
const settleMilliseconds = 120_000;
const promotionAttempts = 20;

/** The daemons control the cut themselves, over links that break, lose and delay. */
export class DaemonControl implements CutControl {
  readonly hosts = 2;
  /** Whoever takes over waits for seconds. */
  readonly pausesMilliseconds = [30, 150, 150, 150, 3500];
  readonly #world: CutWorld;
  readonly #seen: SeenMarkers;
  readonly #allowed: number[] = [];

  constructor(world: CutWorld) {
    this.#world = world;
    this.#seen = new SeenMarkers(world.pairs, (id, numbers) => {
      world.counter.count('marker committed by daemons');
      world.check(`marker ${id}, which was committed`, numbers);
    });
  }

  async begin(): Promise<void> {
    const { pairs, random, fleet } = this.#world;
    for (const { secondary } of pairs) {
      this.#allowed.push(secondary.group?.watermarks.applied ?? 0);
    }
    const places = (urls: readonly string[]): string[] => urls.map((url) => `${url}/${cutGroup}`);
    const targets = places(pairs.map(({ secondary }) => secondary.system.url)).join(',');
    await must(pairs[0], 'a system').primary.system.verb('cut create', {
      cut: cutName,
      member: places(pairs.map(({ primary }) => primary.system.url)),
      targets: [`far=${targets}`],
      interval: random.pick(['20ms', '20ms', '100ms']),
    });
    // Until the secondaries are held what they apply is theirs.
    for (const [at, { secondary }] of pairs.entries()) {
      this.#allowed[at] = secondary.group?.watermarks.applied ?? 0;
    }
    const again = (): void => {
      this.#seen.look();
      fleet.clock.after(surveyMilliseconds, again);
    };
    again();
  }

  allowed(at: number): number {
    const { applied = 0 } = this.#world.pairs[at]?.secondary.group?.watermarks ?? {};
    const known = this.#allowed[at] ?? 0;
    if (applied <= known) return known;
    this.#seen.look();
    const newest = Math.max(known, this.#seen.selectable()?.[at] ?? 0);
    this.#allowed[at] = newest;
    return newest;
  }

  beforeCrash(): void {
    this.#seen.look();
  }

  async disturb(): Promise<void> {
    const { random, fleet, pairs, pass, note } = this.#world;
    const { links } = fleet;
    const nodes = pairs.flatMap(({ primary, secondary }) => [primary.name, secondary.name]);
    const [a, b] = [random.pick(nodes), random.pick(nodes)];
    const what = random.pick(['weather', 'weather', 'slow', 'cut'] as const);
    note(`${what} ${a} ${b}`);
    if (what === 'weather') {
      links.weather = {
        ...calmWeather,
        breaks: random.pick([0, 10, 40]),
        lostRequests: random.pick([0, 0, 20]),
        lostAnswers: random.pick([0, 0, 20]),
      };
    }
    if (a === b) return;
    if (what === 'slow') links.delay(a, b, random.pick([5, 30, 60]));
    if (what === 'cut') {
      links.cut(a, b, random.pick(['broken', 'silent']));
      await pass(random.pick([50, 500]));
      links.mend(a, b);
    }
  }

  async settle(): Promise<boolean> {
    const { fleet, pairs, until } = this.#world;
    const { links } = fleet;
    links.weather = calmWeather;
    const nodes = pairs.flatMap(({ primary, secondary }) => [primary.name, secondary.name]);
    for (const a of nodes) for (const b of nodes) if (a < b) links.mend(a, b);
    this.#seen.look();
    const before = this.#seen.selectable() ?? [];
    return until(
      () =>
        pairs.every(({ secondary }, at) => {
          const { applied = 0 } = secondary.group?.watermarks ?? {};
          return applied > (before[at] ?? 0);
        }),
      settleMilliseconds,
    );
  }

  async promote(): Promise<readonly number[]> {
    const { pairs, random, pass, counter, note } = this.#world;
    for (let attempt = 0; attempt < promotionAttempts; attempt += 1) {
      const { secondary } = random.pick(pairs);
      try {
        await secondary.system.verb('cut promote', { cut: cutName, targets: 'far' });
        counter.count('cut promoted by daemons');
        return pairs.map((pair) => must(pair.secondary.group, 'its group').watermarks.newest);
      } catch (error) {
        if (!(error instanceof JnbdError)) throw error;
        note(`cut promote: ${error.message}`);
        await pass(1000);
      }
    }
    throw new Error('the cut cannot be promoted');
  }
}
