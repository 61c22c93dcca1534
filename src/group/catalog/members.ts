import type { Disk } from '../../platform/disk.ts';
import { messageOf, systemErrorCode } from '../../platform/errors.ts';
import { readSealedJson, writeSealedJson } from './sealed-json.ts';

/** A system that has a copy of the group, as far as is known here. */
export interface Member {
  readonly systemId: number;
  readonly name: string;
  /** Everything up to here is durable there; it may be more. */
  readonly received: number;
  /** Where it listens, if that is known here. */
  readonly url: string | undefined;
}

/** A follower of this system. */
interface DirectMember extends Omit<Member, 'url'> {
  readonly listens?: { readonly url: string } | undefined;
}

/** One of whom this system was told in an earlier life. */
export interface RememberedMember extends Member {
  /** The follower that told of it; null: the source, or it is a follower itself. */
  readonly via: number | null;
}

interface MembersFile {
  readonly formatVersion: 1;
  readonly members: readonly RememberedMember[];
}

/** None where there is no file. One that is damaged is as good as none: it comes again with the next answers. */
export function readMembers(disk: Disk, path: string): readonly RememberedMember[] {
  try {
    return readSealedJson<MembersFile>(disk, path)?.members ?? [];
  } catch (error) {
    if (systemErrorCode(error) !== undefined) throw error;
    return [];
  }
}

/**
 * Everybody who has the group: those below this system, of whom its followers tell with each read, and those
 * above and beside it, of whom its source tells with each answer. Each told list replaces the one before
 * from the same system, so whoever is dropped somewhere is forgotten everywhere. The file is replaced when
 * somebody came, went or moved to another address; positions in it may be old.
 */
export class Members {
  readonly #deps: { readonly disk: Disk; readonly systemId: number };
  readonly #path: string;
  readonly #followers: () => readonly DirectMember[];
  readonly #untold: (why: string) => void;
  /** By the follower that told of them. */
  readonly #below = new Map<number, readonly Member[]>();
  #above: readonly Member[] = [];
  /** Of the last life: who was not told of again since. */
  #remembered: readonly RememberedMember[];
  #written = '';
  #isClosed = false;

  /**
   * `remembered`: as the file has them. `followers`: those of this system. `untold`: the file could not be
   * replaced; it is tried again at the next change.
   */
  constructor(
    deps: { readonly disk: Disk; readonly systemId: number },
    path: string,
    remembered: readonly RememberedMember[],
    followers: () => readonly DirectMember[],
    untold: (why: string) => void,
  ) {
    this.#deps = deps;
    this.#path = path;
    this.#remembered = remembered;
    this.#followers = followers;
    this.#untold = untold;
    this.#written = identities(remembered);
  }

  /** Without this system. Who is told of twice is as far as the higher number says. */
  list(): readonly Member[] {
    return this.#merged([...this.#remembered, ...this.#above], this.below());
  }

  /** Those who follow this system, and those who follow them. */
  below(): readonly Member[] {
    const direct = this.#followers().map(
      ({ systemId, name, received, listens }): Member => ({
        systemId,
        name,
        received,
        url: listens?.url,
      }),
    );
    return this.#merged([...this.#below.values()].flat(), direct);
  }

  #merged(...lists: readonly (readonly Member[])[]): Member[] {
    const all = new Map<number, Member>();
    for (const member of lists.flat()) {
      const { systemId, received } = member;
      if (systemId === this.#deps.systemId) continue;
      const known = all.get(systemId);
      const url = member.url ?? known?.url;
      all.set(systemId, { ...member, url, received: Math.max(received, known?.received ?? 0) });
    }
    return [...all.values()];
  }

  toldBy(follower: number): readonly Member[] {
    return this.#below.get(follower) ?? [];
  }

  /** What a follower said of those below it. */
  followerTold(systemId: number, members: readonly Member[]): void {
    this.#below.set(systemId, members);
    this.#remembered = this.#remembered.filter(({ via }) => via !== systemId);
    this.#write();
  }

  followerGone(systemId: number): void {
    this.#below.delete(systemId);
    this.#above = this.#above.filter((member) => member.systemId !== systemId);
    this.#remembered = this.#remembered.filter(
      (member) => member.via !== systemId && member.systemId !== systemId,
    );
    this.#write();
  }

  /** What the source said of everybody that it knows; those who are below here are known better here. */
  sourceTold(members: readonly Member[]): void {
    const below = new Set(this.below().map(({ systemId }) => systemId));
    this.#above = members.filter(({ systemId }) => !below.has(systemId));
    this.#remembered = this.#remembered.filter(({ via }) => via !== null);
    this.#write();
  }

  /** With positions as they are now. */
  close(): void {
    if (this.list().length > 0) this.#write(true);
    this.#isClosed = true;
  }

  #toRemember(members: readonly Member[]): RememberedMember[] {
    const teller = new Map(this.#remembered.map(({ systemId, via }) => [systemId, via]));
    for (const [via, told] of this.#below) {
      for (const { systemId } of told) teller.set(systemId, via);
    }
    return members.map((member) => ({ ...member, via: teller.get(member.systemId) ?? null }));
  }

  #write(isWanted = false): void {
    if (this.#isClosed) return;
    const members = this.list();
    const text = identities(members);
    if (text === this.#written && !isWanted) return;
    try {
      const file: MembersFile = { formatVersion: 1, members: this.#toRemember(members) };
      writeSealedJson(this.#deps.disk, this.#path, file);
      this.#written = text;
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      this.#untold(messageOf(error));
    }
  }
}

function identities(members: readonly Member[]): string {
  const sorted = [...members].sort((a, b) => a.systemId - b.systemId);
  return JSON.stringify(sorted.map(({ systemId, name, url }) => [systemId, name, url]));
}
