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
  get volumes(): string {
    return `${this.directory}/volumes`;
  }
  get journal(): string {
    return `${this.directory}/journal`;
  }
  volume(id: number): string {
    return `${this.volumes}/${String(id).padStart(4, '0')}.volume`;
  }
}

export const volumeFilePattern = /^(\d{4,})\.volume$/;
