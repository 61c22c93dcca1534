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

  /** The volumes behind that change; what is wrong where they were others before. */
  catalog(lineage: Lineage, number: number, volumes: readonly VolumeShape[]): string | undefined {
    const stretch = stretchOf(lineage, number);
    if (!stretch) return undefined;
    const { catalogs } = this.#of(stretch);
    const known = catalogs.get(number);
    if (!known) {
      catalogs.set(number, volumes);
      return undefined;
    }
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
}

/** What volumes hold at one position, brought forward as that moves. */
export class HistoryImage {
  readonly #history: FleetHistory;
  readonly #volumes = new Map<number, Buffer>();
  #at: { readonly number: number; readonly key: string } | undefined;

  constructor(history: FleetHistory) {
    this.#history = history;
  }

  /** By id. */
  get volumes(): ReadonlyMap<number, Buffer> {
    return this.#volumes;
  }

  moveTo(lineage: Lineage, number: number): void {
    const last = stretchOf(lineage, this.#at?.number ?? 0);
    const isOnTheWay =
      this.#at !== undefined && this.#at.number <= number && last && keyOf(last) === this.#at.key;
    if (!isOnTheWay) {
      this.#volumes.clear();
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
    if (volumes) this.#change(volumes);
  }

  #change(volumes: readonly VolumeShape[]): void {
    for (const id of this.#volumes.keys()) {
      if (!volumes.some((volume) => volume.id === id)) this.#volumes.delete(id);
    }
    for (const { id, sizeBytes } of volumes) {
      const before = this.#volumes.get(id);
      if (before?.length === sizeBytes) continue;
      const grown = Buffer.alloc(sizeBytes);
      if (before) grown.set(before);
      this.#volumes.set(id, grown);
    }
  }
}
