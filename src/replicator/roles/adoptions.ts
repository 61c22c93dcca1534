import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import { VolumeAdoption } from '../../group/volumes/volume-adoption.ts';
import type { Clock } from '../../platform/clock.ts';

/** Of each group one: changes that one source sent may be under way when another one is followed. */
export class Adoptions {
  readonly #system: System;
  readonly #clock: Clock;
  readonly #adopted: (group: Group) => void;
  readonly #all = new WeakMap<Group, VolumeAdoption>();

  /** `adopted` is told, soon after, that the catalog is another one. */
  constructor(system: System, clock: Clock, adopted: (group: Group) => void) {
    this.#system = system;
    this.#clock = clock;
    this.#adopted = adopted;
  }

  of(group: Group): VolumeAdoption {
    let adoption = this.#all.get(group);
    if (!adoption) {
      adoption = new VolumeAdoption(this.#system.disk, group, this.#system.filesOf(group), () =>
        this.#clock.soon(() => this.#adopted(group)),
      );
      this.#all.set(group, adoption);
    }
    return adoption;
  }
}
