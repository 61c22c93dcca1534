import type { FromApply } from '../../volume/apply-messages.ts';
import type { Conditions } from '../catalog/conditions.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import type { Volume } from './volume.ts';

/** What a failing apply means for volumes, and what people are told of it. */
export class ApplyTroubles {
  readonly #conditions: Conditions;
  readonly #files: GroupFiles;
  readonly #groupName: string;
  readonly #volumes: ReadonlyMap<string, Volume>;

  constructor(
    conditions: Conditions,
    files: GroupFiles,
    groupName: string,
    volumes: ReadonlyMap<string, Volume>,
  ) {
    this.#conditions = conditions;
    this.#files = files;
    this.#groupName = groupName;
    this.#volumes = volumes;
  }

  failed(failure: FromApply & { kind: 'failed' }): void {
    const volume = [...this.#volumes.values()].find(({ catalog }) => catalog.id === failure.volume);
    const subject = volume ? `${this.#groupName}/${volume.catalog.name}` : this.#groupName;
    const again = 'nothing is lost, it is tried again every second';
    const isSpace = failure.code === 'ENOSPC' || failure.code === 'EDQUOT';
    if (failure.part === 'volume' && isSpace) {
      this.#conditions.raise(subject, {
        code: 'volume_space',
        severity: 'error',
        message: `volume ${subject} cannot grow: ${failure.message}; its records stay in the journal and hosts are slowed`,
        nextCommand: `df ${this.#files.volumes}`,
      });
    } else if (failure.part === 'sync') {
      this.#syncFailed(failure, volume, subject);
    } else if (failure.part === 'checkpoint') {
      this.#conditions.raise(this.#checkpointSubject, {
        code: 'volume_failed',
        severity: 'error',
        message: `the checkpoint of group ${this.#groupName} cannot be written: ${failure.message}; ${again}, and meanwhile the journal fills`,
        nextCommand: `df ${this.#files.directory}`,
      });
    } else if (failure.part === 'segment') {
      this.#conditions.raise(this.#applySubject, {
        code: 'journal_failed',
        severity: 'error',
        message: `apply of ${subject} cannot read the journal: ${failure.message}; ${again}`,
        nextCommand: `jnbd journal check ${this.#files.directory}`,
      });
    } else {
      // One that is being filled, or deleted, is not served: it stays what it is.
      if (volume?.state === 'normal') volume.become('abnormal', failure.message);
      this.#conditions.raise(subject, {
        code: 'volume_failed',
        severity: 'error',
        message: `apply of ${subject} failed: ${failure.message}; ${again}`,
        nextCommand: `ls -l ${this.#files.volumes}`,
      });
    }
  }

  /** Of conditions that are not to be taken for those of the group with the same code. */
  get #applySubject(): string {
    return `apply of ${this.#groupName}`;
  }

  get #checkpointSubject(): string {
    return `checkpoint of ${this.#groupName}`;
  }

  /** The file system has no room for what hosts write to new places, or has it again. */
  spaceChanged(isShort: boolean): void {
    if (!isShort) {
      this.#conditions.clear(
        this.#groupName,
        'volume_space',
        `the file system below ${this.#files.volumes} has room: writes that need new space succeed`,
      );
      return;
    }
    this.#conditions.raise(this.#groupName, {
      code: 'volume_space',
      severity: 'error',
      message: `the file system below ${this.#files.volumes} is full: hosts get ENOSPC for writes that need new space; free some, and they succeed again`,
      nextCommand: `df ${this.#files.volumes}`,
    });
  }

  /** What had failed was done after all. */
  recovered(part: 'table' | 'checkpoint'): void {
    if (part === 'table') {
      this.#tableApplied();
      return;
    }
    const text = `the checkpoint of group ${this.#groupName} was written`;
    this.#conditions.clear(this.#checkpointSubject, 'volume_failed', text);
  }

  #tableApplied(): void {
    for (const volume of this.#volumes.values()) {
      const subject = `${this.#groupName}/${volume.catalog.name}`;
      const text = `apply of ${subject} succeeded`;
      this.#conditions.clear(subject, 'volume_space', text);
      // A restart opens its file, or believes it, again.
      if (volume.syncFailed || !volume.file) continue;
      this.#conditions.clear(subject, 'volume_failed', text);
      if (volume.state === 'abnormal') volume.become('normal');
    }
    const text = `apply of ${this.#groupName} succeeded`;
    this.#conditions.clear(this.#applySubject, 'journal_failed', text);
    // Of a volume that is gone.
    this.#conditions.clear(this.#groupName, 'volume_failed', text);
  }

  /**
   * What was written to the volume since the last checkpoint may be lost below us, but it is in the
   * journal: the next start applies it again (SAFETY 4).
   */
  #syncFailed(
    failure: FromApply & { kind: 'failed' },
    volume: Volume | undefined,
    subject: string,
  ): void {
    if (volume) {
      volume.syncFailed = true;
      if (volume.state !== 'abnormal') volume.become('abnormal', failure.message);
    }
    this.#conditions.raise(subject, {
      code: 'volume_failed',
      severity: 'error',
      message: `syncing ${subject} failed: ${failure.message}; its records stay in the journal, and a restart applies them again`,
      nextCommand: 'restart the daemon, after mending the disk',
    });
  }
}
