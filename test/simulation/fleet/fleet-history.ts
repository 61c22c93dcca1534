import { type Lineage, type Stretch, stretchOf } from '../../../src/group/catalog/lineage.ts';

/** What one record did to a volume; without bytes the range reads as zero. */
export interface Effect {
  readonly number: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
}

export interface VolumeShape {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** It is on its way back, and a record says so. */
  readonly rollback?: ShapeRollback;
}

interface ShapeRollback {
  readonly plan: string;
  readonly to: number;
}

interface StretchHistory {
  readonly effects: Map<number, Effect>;
  /** The volumes behind each change of the catalog. */
  readonly catalogs: Map<number, readonly VolumeShape[]>;
  /** The highest number that was ever durable where it was given. */
  durable: number;
}

export function keyOf({ generation, system, incarnation, firstNumber }: Stretch): string {
  return `${generation}/${system}/${incarnation}/${firstNumber}`;
}

/**
 * Everything that was ever numbered, by the stretch it belongs to: histories part where a system took
 * over, and each system has one path through them.
 */
export class FleetHistory {
  readonly #stretches = new Map<string, StretchHistory>();
  /** By plan of a rollback: what volumes held where they go back to. */
  readonly #targets = new Map<string, ReadonlyMap<number, Buffer>>();
  /** By plan that somebody wanted no more: what volumes held then, as far as it was looked at. */
  readonly #left = new Map<string, Map<number, Buffer>>();

  #of(stretch: Stretch): StretchHistory {
    const key = keyOf(stretch);
    let history = this.#stretches.get(key);
    if (!history) {
      history = { effects: new Map(), catalogs: new Map(), durable: 0 };
      this.#stretches.set(key, history);
    }
    return history;
  }

  write(stretch: Stretch, effect: Effect): void {
    this.#of(stretch).effects.set(effect.number, effect);
  }

  /**
   * The volumes behind that change; what is wrong where they were others before. `isPlanned`: some are to go back, and
   * no record says so yet, nor can be told any more whether they were on their way before.
   */
  catalog(
    lineage: Lineage,
    number: number,
    volumes: readonly VolumeShape[],
    isPlanned: boolean,
  ): string | undefined {
    const stretch = stretchOf(lineage, number);
    if (!stretch) return undefined;
    const { catalogs } = this.#of(stretch);
    const known = catalogs.get(number);
    if (!known) {
      catalogs.set(number, volumes);
      return undefined;
    }
    if (isPlanned) return undefined;
    const [expected, found] = [JSON.stringify(known), JSON.stringify(volumes)];
    if (expected === found) return undefined;
    return `behind change ${number} the volumes are ${found}, but elsewhere ${expected}`;
  }

  noteDurable(stretch: Stretch, durable: number): void {
    const history = this.#of(stretch);
    history.durable = Math.max(history.durable, durable);
  }

  durableOf(stretch: Stretch): number {
    return this.#of(stretch).durable;
  }

  effect(stretch: Stretch, number: number): Effect | undefined {
    return this.#of(stretch).effects.get(number);
  }

  volumesBehind(stretch: Stretch, number: number): readonly VolumeShape[] | undefined {
    return this.#of(stretch).catalogs.get(number);
  }

  /** What volumes are when that plan has ended; those that are missing nobody knows. */
  behind(lineage: Lineage, { plan, to }: ShapeRollback): ReadonlyMap<number, Buffer> {
    return this.#left.get(plan) ?? this.target(lineage, { plan, to });
  }

  target(lineage: Lineage, { plan, to }: ShapeRollback): ReadonlyMap<number, Buffer> {
    let target = this.#targets.get(plan);
    if (!target) {
      const image = new HistoryImage(this);
      image.moveTo(lineage, to);
      target = image.volumes;
      this.#targets.set(plan, target);
    }
    return target;
  }

  /** Somebody wants that volumes stay as they are, halfway. */
  leave(plan: string): void {
    this.#left.set(plan, new Map());
  }

  leftWith(plan: string, volume: number, contents: Buffer): void {
    this.#left.get(plan)?.set(volume, contents);
  }
}

/** What volumes hold at one position, brought forward as that moves. */
export class HistoryImage {
  readonly #history: FleetHistory;
  readonly #volumes = new Map<number, Buffer>();
  /** Those that nobody knows. */
  readonly #unknown = new Set<number>();
  readonly #goingBack = new Map<number, ShapeRollback[]>();
  /** Numbers of which nothing was known: a change of the catalog is seen only when it is durable. */
  readonly #blank: number[] = [];
  #at: { readonly number: number; readonly key: string } | undefined;

  constructor(history: FleetHistory) {
    this.#history = history;
  }

  /** By id. */
  get volumes(): ReadonlyMap<number, Buffer> {
    return this.#volumes;
  }

  /** Where the volume is on its way to, and was before it had arrived; empty: it is on none. */
  goingBack(volume: number): readonly ShapeRollback[] {
    return this.#goingBack.get(volume) ?? [];
  }

  moveTo(lineage: Lineage, number: number): void {
    const last = stretchOf(lineage, this.#at?.number ?? 0);
    const isOnTheWay =
      this.#at !== undefined && this.#at.number <= number && last && keyOf(last) === this.#at.key;
    const isKnown = (blank: number): boolean => {
      const stretch = stretchOf(lineage, blank);
      return stretch !== undefined && this.#history.volumesBehind(stretch, blank) !== undefined;
    };
    if (!isOnTheWay || this.#blank.some(isKnown)) {
      this.#blank.length = 0;
      this.#volumes.clear();
      this.#unknown.clear();
      this.#goingBack.clear();
      this.#at = undefined;
    }
    for (let at = (this.#at?.number ?? 0) + 1; at <= number; at += 1) this.#apply(lineage, at);
    const stretch = stretchOf(lineage, number);
    this.#at = stretch && { number, key: keyOf(stretch) };
  }

  #apply(lineage: Lineage, number: number): void {
    const stretch = stretchOf(lineage, number);
    if (!stretch) return;
    const effect = this.#history.effect(stretch, number);
    if (effect) {
      const { volume, offset, length, bytes } = effect;
      if (bytes) this.#volumes.get(volume)?.set(bytes, offset);
      else this.#volumes.get(volume)?.fill(0, offset, offset + length);
      return;
    }
    const volumes = this.#history.volumesBehind(stretch, number);
    if (volumes) this.#change(lineage, volumes);
    else this.#blank.push(number);
  }

  #change(lineage: Lineage, volumes: readonly VolumeShape[]): void {
    for (const id of [...this.#volumes.keys(), ...this.#unknown]) {
      if (volumes.some((volume) => volume.id === id)) continue;
      this.#volumes.delete(id);
      this.#unknown.delete(id);
      this.#goingBack.delete(id);
    }
    for (const { id, sizeBytes, rollback } of volumes) {
      if (!this.#unknown.has(id)) this.#resize(id, this.#volumes.get(id), sizeBytes);
      const plans = this.goingBack(id);
      const last = plans.at(-1);
      if (rollback) {
        if (last?.plan !== rollback.plan) this.#goingBack.set(id, [...plans, rollback]);
      } else if (last) {
        // What is written meanwhile nobody knows, and nobody reads.
        this.#goingBack.delete(id);
        this.#volumes.delete(id);
        const held = this.#history.behind(lineage, last).get(id);
        if (held) this.#resize(id, held, sizeBytes);
        if (held) this.#unknown.delete(id);
        else this.#unknown.add(id);
      }
    }
  }

  #resize(id: number, before: Buffer | undefined, sizeBytes: number): void {
    if (before && before === this.#volumes.get(id) && before.length === sizeBytes) return;
    const grown = Buffer.alloc(sizeBytes);
    if (before) before.copy(grown);
    this.#volumes.set(id, grown);
  }
}
