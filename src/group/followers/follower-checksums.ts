import type { ToldChecksums } from '../apply/compared-points.ts';
import type { FollowedGroup } from './follower-holds.ts';

interface Follower {
  readonly systemId: number;
  readonly name: string;
}

/**
 * What each follower found where it compared its checksums with those that the journal brought. In memory alone: each
 * tells it again with its next read.
 */
export class FollowerChecksums {
  readonly #group: Pick<FollowedGroup, 'catalog' | 'conditions'>;
  readonly #told = new Map<number, ToldChecksums>();

  constructor(group: Pick<FollowedGroup, 'catalog' | 'conditions'>) {
    this.#group = group;
  }

  /** Undefined: it told nothing, because nothing was compared there yet, or because it does not know how. */
  of(systemId: number): ToldChecksums | undefined {
    return this.#told.get(systemId);
  }

  told(follower: Follower, told: ToldChecksums): void {
    this.#told.set(follower.systemId, told);
    if (told === 'off') this.#clear(follower, 'keeps no checksums any more');
    else if (told.differing.length === 0) this.#clear(follower, 'has what the primary had again');
    else this.#raise(follower, told);
  }

  /** Conditions go by names. */
  renamed(before: Follower, now: Follower): void {
    const told = this.#told.get(before.systemId);
    if (told === undefined || before.name === now.name) return;
    this.forget(before, `is called ${now.name} now`);
    this.told(now, told);
  }

  /** It does not follow any more. */
  forget(follower: Follower, what: string): void {
    this.#told.delete(follower.systemId);
    this.#clear(follower, what);
  }

  #raise({ name }: Follower, { agreed, differing }: Exclude<ToldChecksums, 'off'>): void {
    const { catalog, conditions } = this.#group;
    const group = catalog.name;
    const volumes = differing.map((id) => {
      const volume = catalog.volumes.find((each) => each.id === id);
      return `${group}/${volume?.name ?? id}`;
    });
    const are = volumes.length === 1 ? 'volume' : 'volumes';
    const before = agreed
      ? `all of it was the same at update ${agreed.number}, ${new Date(agreed.atMilliseconds).toISOString()}`
      : 'nothing there was shown to be the same since it was started';
    conditions.raise(`${group} ${name}`, {
      code: 'follower_differs',
      severity: 'error',
      message: `what follower ${name} has of ${are} ${volumes.join(', ')} is not what the primary had, as its checksums show; ${before}`,
      nextCommand: `jnbd verify ${group}`,
    });
  }

  #clear({ name }: Follower, what: string): void {
    const { catalog, conditions } = this.#group;
    const text = `follower ${name} of group ${catalog.name} ${what}`;
    conditions.clear(`${catalog.name} ${name}`, 'follower_differs', text);
  }
}
