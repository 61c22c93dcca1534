import {
  type ExportClient,
  type ExportSession,
  readPending,
} from '../../src/group/apply/export.ts';
import { shownVolumes } from '../../src/group/apply/volume.ts';
import type { Group } from '../../src/group/order/group.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { blockBytes, KiB } from '../../src/platform/limits.ts';
import type { Campaign } from './campaign.ts';
import { KnownViews } from './changes-of-views.ts';
import type { FaultRule } from './faults.ts';

const snapshotsMax = 4;
const readersMax = 6;
const pieceBytes = 32 * KiB;

/**
 * What goes on with snapshots and views while hosts write: some are read piece by piece, others are made, what is
 * overwritten begins to be kept anew, and the device takes its time for what the page cache has not.
 */
export class SnapshotWork {
  readonly #campaign: Campaign;
  readonly #slow: FaultRule;
  readonly #readers: BackgroundReader[] = [];
  readonly #creations: Promise<void>[] = [];
  #creationsLeft = 0;

  constructor(campaign: Campaign) {
    const { random } = campaign;
    this.#campaign = campaign;
    this.#slow = {
      kind: 'slow',
      operation: 'read',
      role: 'volume',
      isLaterOnly: true,
      probability: 0.5,
      milliseconds: random.pick([1, 10, 60, 1500]),
    };
  }

  begin(): void {
    const { simulation, random } = this.#campaign;
    if (!simulation.isServing) return;
    simulation.machine.faults.add(this.#slow);
    const groups = [...simulation.groups.values()].filter(({ state }) => state === 'normal');
    for (const group of groups) {
      for (const { number, name } of group.snapshots.living) {
        if (number > group.catalog.number) continue;
        for (const { catalog } of shownVolumes(group.volumes)) {
          if (this.#readers.length >= readersMax || random.chance(0.3)) continue;
          const model = simulation.tap.models.get(group.catalog.groupId);
          const expected = model?.current.snapshots.contents(number, catalog.id);
          this.#read(group, `${catalog.name}@${name}`, expected, () => false);
        }
      }
      for (const view of group.views.list) {
        const contents = KnownViews.of(this.#campaign).contentsOf(group, view) ?? [];
        for (const [volume, expected] of contents) {
          if (this.#readers.length >= readersMax || random.chance(0.5)) continue;
          this.#read(group, `${volume}@${view.entry.name}`, expected, () => view.state !== 'open');
        }
      }
      if (random.chance(0.4)) this.#beginBase(group, random.fraction() * random.pick([1, 8, 60]));
      const room = snapshotsMax - group.snapshots.living.length;
      for (let left = random.int(Math.max(1, Math.min(3, room + 1))); left > 0; left -= 1) {
        const delay = random.fraction() * random.pick([1, 8, 60]);
        this.#creationsLeft += 1;
        simulation.clock.after(delay, () => {
          this.#creationsLeft -= 1;
          this.#creations.push(this.#create(group));
        });
      }
    }
  }

  #read(group: Group, name: string, expected: Buffer | undefined, mayEnd: () => boolean): void {
    const reader = expected && beginReading(this.#campaign, group, name, expected, mayEnd);
    if (reader) this.#readers.push(reader);
  }

  /** At any moment, whatever is being applied. */
  #beginBase(group: Group, delay: number): void {
    const { simulation } = this.#campaign;
    simulation.clock.after(delay, () => {
      if (!simulation.isServing || group.state !== 'normal') return;
      void group.views.history.begin().then(
        () => simulation.counter.count('history begun meanwhile'),
        (error: unknown) => {
          if (!simulation.daemon.isDead && !(error instanceof JnbdError)) throw error;
        },
      );
    });
  }

  /** Everything that was begun is over, or the daemon is gone. */
  async end(): Promise<void> {
    const { simulation } = this.#campaign;
    for (const reader of this.#readers) reader.stop();
    await simulation.until(() => this.#creationsLeft === 0);
    for (const creation of this.#creations.splice(0)) await simulation.settled(creation);
    await simulation.until(() => this.#readers.every(({ isOver }) => isOver));
    simulation.machine.faults.remove(this.#slow);
    for (const reader of this.#readers.splice(0)) reader.close();
  }

  /** What a group that fails meanwhile says is not looked at. */
  async #create(group: Group): Promise<void> {
    const { simulation } = this.#campaign;
    if (!simulation.isServing || group.state !== 'normal') return;
    const isPossible = shownVolumes(group.volumes).some(
      ({ catalog, state }) =>
        state === 'normal' && catalog.state === 'normal' && !catalog.journalOnly,
    );
    const snapshot = `${group.name}@w${simulation.clock.events}`;
    const { control } = simulation.daemon.composed;
    const call = { signal: new AbortController().signal, progress: () => undefined };
    try {
      await control.change('/verbs/snapshot-create', { snapshot }, call);
      simulation.counter.count('snapshot made meanwhile');
    } catch (error) {
      if (simulation.daemon.isDead) return;
      if (!(error instanceof JnbdError)) throw error;
      const { excuses } = simulation;
      const isExcused = excuses.has('disk') || excuses.has('space') || group.state !== 'normal';
      if (isPossible && !isExcused) simulation.report(`snapshot ${snapshot}: ${error.message}`);
    }
  }
}

function beginReading(
  { simulation, random }: Campaign,
  group: Group,
  name: string,
  expected: Buffer,
  mayEnd: () => boolean,
): BackgroundReader | undefined {
  const found = simulation.daemon.composed.exports.find(`${group.name}/${name}`);
  if (!found || mayEnd()) return undefined;
  const next = (): { readonly offset: number; readonly length: number } => {
    const length = Math.min(
      expected.length,
      random.between(1, pieceBytes / blockBytes) * blockBytes,
    );
    const blocks = Math.floor((expected.length - length) / blockBytes);
    return { offset: random.int(blocks + 1) * blockBytes, length };
  };
  const wrong = (text: string): void => {
    if (!simulation.daemon.isDead) simulation.report(`group ${group.name}: ${name} ${text}`);
  };
  const reader = new BackgroundReader(expected, next, wrong, {
    mayFail: () => simulation.excuses.has('disk') || group.state !== 'normal' || mayEnd(),
    soon: (run) => simulation.clock.after(random.fraction() * 2, run),
    counted: () => simulation.counter.count('snapshot read meanwhile'),
  });
  reader.begin((client) => found.open(client));
  return reader;
}

interface ReaderSurroundings {
  readonly mayFail: () => boolean;
  readonly soon: (run: () => void) => void;
  readonly counted: () => void;
}

/** Reads piece after piece of a snapshot until it is told to stop. */
class BackgroundReader {
  readonly #expected: Buffer;
  readonly #next: () => { readonly offset: number; readonly length: number };
  readonly #wrong: (text: string) => void;
  readonly #surroundings: ReaderSurroundings;
  #session: ExportSession | undefined;
  #piece = { offset: 0, length: 0 };
  #bytes = Buffer.alloc(0);
  #isStopped = false;
  isOver = false;

  constructor(
    expected: Buffer,
    next: () => { readonly offset: number; readonly length: number },
    wrong: (text: string) => void,
    surroundings: ReaderSurroundings,
  ) {
    this.#expected = expected;
    this.#next = next;
    this.#wrong = wrong;
    this.#surroundings = surroundings;
  }

  begin(open: (client: ExportClient) => ExportSession): void {
    this.#session = open({
      peer: '127.0.0.1:9',
      admitted: () => undefined,
      durableReached: () => undefined,
      durableFailed: () => undefined,
      readCompleted: (_token, failure) => this.#completed(failure),
      revoke: () => this.stop(),
    });
    this.#read();
  }

  stop(): void {
    this.#isStopped = true;
  }

  close(): void {
    this.#session?.close();
  }

  #read(): void {
    const session = this.#session;
    if (this.#isStopped || !session) {
      this.isOver = true;
      return;
    }
    this.#piece = this.#next();
    const { offset, length } = this.#piece;
    this.#bytes = Buffer.alloc(length);
    if (!session.admitsRead(offset, length)) {
      this.#surroundings.soon(() => this.#read());
      return;
    }
    const result = session.read(offset, length, this.#bytes, 0, 1);
    if (result !== readPending) this.#completed(result);
  }

  #completed(failure: number): void {
    const { offset, length } = this.#piece;
    if (failure !== 0 && !this.#surroundings.mayFail())
      this.#wrong(`cannot be read at ${offset}: ${failure} ${this.#session?.errorText ?? ''}`);
    if (failure === 0) {
      this.#surroundings.counted();
      if (!this.#bytes.equals(this.#expected.subarray(offset, offset + length)))
        this.#wrong(`is not what it was made of while hosts write, from ${offset} on`);
    }
    this.#surroundings.soon(() => this.#read());
  }
}
