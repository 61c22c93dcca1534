import type { SimulatedFile } from './simulated-file.ts';

interface FileSyncs {
  /** Every change before this is on the device, but for those that a failed sync gave up on. */
  through: number;
  readonly givenUp: { readonly from: number; readonly to: number }[];
}

/** Which changes of files are on the device for sure, told from the syncs that ended. */
export class SyncTracker {
  readonly #files = new Map<SimulatedFile, FileSyncs>();

  #of(file: SimulatedFile): FileSyncs {
    let syncs = this.#files.get(file);
    if (!syncs) {
      syncs = { through: 0, givenUp: [] };
      this.#files.set(file, syncs);
    }
    return syncs;
  }

  ended(file: SimulatedFile, changeNumber: number, ok: boolean): void {
    const syncs = this.#of(file);
    if (changeNumber <= syncs.through) return;
    if (!ok) syncs.givenUp.push({ from: syncs.through, to: changeNumber });
    syncs.through = changeNumber;
  }

  /** What is there now is on the device, what is not is gone for ever. */
  powerLost(): void {
    for (const [file, syncs] of this.#files) {
      syncs.through = file.changeNumber;
      syncs.givenUp.length = 0;
    }
  }

  /** Whether a failed sync was the last that covered the change. */
  isGivenUp(file: SimulatedFile, changeNumber: number): boolean {
    const syncs = this.#of(file);
    return syncs.givenUp.some(({ from, to }) => changeNumber > from && changeNumber <= to);
  }

  /** Whether the changes before `changeNumber` (the last one is meant) are on the device. */
  isDurable(file: SimulatedFile, changeNumber: number): boolean {
    const syncs = this.#of(file);
    return changeNumber <= syncs.through && !this.isGivenUp(file, changeNumber);
  }
}
