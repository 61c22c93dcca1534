/** A volume's contents are on their way back to what they were at an earlier update: no host sees or writes them. */
export interface VolumeRollback {
  /** Random: what is kept on a system for this rollback, and for no other, has it in its name. */
  readonly plan: string;
  /** They become what they were at this update. */
  readonly to: number;
  /** Of its record; missing while a promotion has it in the catalog, and the record is still to be numbered. */
  readonly number?: number | undefined;
}

/** What is asked of a volume of the catalog here. */
interface RolledBackVolume {
  readonly id: number;
  readonly rollback?: VolumeRollback | undefined;
}

/** One at a time in a group. Volumes of one plan are of one instant again when all of them are. */
export interface RollbackPlan extends VolumeRollback {
  /** Ids. */
  readonly volumes: readonly number[];
}

export type RollbackChange =
  | {
      readonly change: 'rollback_begun';
      readonly plan: string;
      readonly to: number;
      readonly volumes: readonly number[];
    }
  /** What is behind this record stands on what they were at that update. */
  | { readonly change: 'rollback_ended'; readonly plan: string };

/** Volumes behind record `number`, which is that change; `number` is missing where it is still to be numbered. */
export function changeRollback<T extends RolledBackVolume>(
  volumes: readonly T[],
  change: RollbackChange,
  number: number | undefined,
): readonly T[] {
  if (change.change === 'rollback_begun') {
    const { plan, to } = change;
    const begun = new Set(change.volumes);
    return volumes.map((volume) =>
      begun.has(volume.id) ? { ...volume, rollback: { plan, to, number } } : volume,
    );
  }
  return volumes.map((volume) =>
    volume.rollback?.plan === change.plan ? { ...volume, rollback: undefined } : volume,
  );
}

/** The one that has not ended. */
export function standingRollback(volumes: readonly RolledBackVolume[]): RollbackPlan | undefined {
  const rollback = volumes.find((volume) => volume.rollback)?.rollback;
  if (!rollback) return undefined;
  const own = volumes.filter((volume) => volume.rollback?.plan === rollback.plan);
  return { ...rollback, volumes: own.map(({ id }) => id) };
}
