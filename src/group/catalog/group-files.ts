/** Where a group's journal is when it was not put elsewhere. */
export const ownJournalDirectory = 'journal';

/** Where it goes on when its own directories cannot be written any more: beside the volumes. */
export const emergencyDirectory = 'emergency';

/** Where a group's files are, below the data directory. */
export class GroupFiles {
  readonly directory: string;

  constructor(groupsDirectory: string, name: string) {
    this.directory = `${groupsDirectory}/${name}`;
  }

  get catalog(): string {
    return `${this.directory}/catalog`;
  }
  get checkpoint(): string {
    return `${this.directory}/checkpoint`;
  }
  get head(): string {
    return `${this.directory}/head`;
  }
  /** Whom the group follows. */
  get follow(): string {
    return `${this.directory}/follow`;
  }
  /** Who follows this group, and how far. */
  get followers(): string {
    return `${this.directory}/followers`;
  }
  /** With what the journal is to begin anew; gone once it has. */
  get restart(): string {
    return `${this.directory}/restart`;
  }
  /** Regions of volumes whose contents a resync has still to bring. */
  get resyncRegions(): string {
    return `${this.directory}/resync-regions`;
  }
  /** What volumes held before a resync overwrote it. */
  get preserved(): string {
    return `${this.directory}/preserved`;
  }
  /** What this system had that the group's history has not. */
  get branches(): string {
    return `${this.directory}/branches`;
  }
  /** What was written to writable clones of snapshots here. */
  get clones(): string {
    return `${this.directory}/clones`;
  }
  /** What volumes are to hold again, a directory for each rollback. */
  get rollbacks(): string {
    return `${this.directory}/rollbacks`;
  }
  /** Volumes that the group's source deleted, whose files are still here. */
  get deleted(): string {
    return `${this.directory}/deleted`;
  }
  /** Bases of the window of its past, a directory each. */
  get history(): string {
    return `${this.directory}/history`;
  }
  base(number: number): string {
    return `${this.history}/${number}`;
  }
  /** Of the blocks of volumes: a file for each volume. */
  get checksums(): string {
    return `${this.directory}/checksums`;
  }
  /** Which instants of its past are shown to hosts. */
  get views(): string {
    return `${this.directory}/views`;
  }
  /** Those that can be written to, and what was written to them. */
  get writableViews(): string {
    return `${this.directory}/writable-views`;
  }
  /** What the last drill said. */
  get proven(): string {
    return `${this.directory}/proven`;
  }
  /** Which systems have the group. */
  get members(): string {
    return `${this.directory}/members`;
  }
  /** When the group was verified last, and what was found. */
  get verified(): string {
    return `${this.directory}/verified`;
  }
  /** What changed since that follower was left behind. */
  dirtyMap(systemId: number): string {
    return `${this.directory}/dirty-${systemId}`;
  }
  get volumes(): string {
    return `${this.directory}/volumes`;
  }
  get journal(): string {
    return this.area(ownJournalDirectory);
  }
  /** The catalog of a group that is being made or deleted: what is there is to be taken away. */
  get unfinished(): string {
    return `${this.directory}/unfinished`;
  }
  /** A journal directory as the catalog has it: relative ones move with the data directory. */
  area(path: string): string {
    return path.startsWith('/') ? path : `${this.directory}/${path}`;
  }
  volume(id: number): string {
    return `${this.volumes}/${String(id).padStart(4, '0')}.volume`;
  }
}

export const volumeFilePattern = /^(\d{4,})\.volume$/;
