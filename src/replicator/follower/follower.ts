import type { WhenFull } from '../../group/catalog/follow-file.ts';
import type { Group } from '../../group/order/group.ts';
import type { GroupFiles } from '../../group/catalog/group-files.ts';
import type { GroupWatcher } from '../../group/order/group-watcher.ts';
import { type Lineage, positionOf } from '../../group/catalog/lineage.ts';
import { ReceivedRecords } from '../../group/volumes/received-records.ts';
import type { ResyncedRegions } from '../../group/volumes/resynced-regions.ts';
import type { VolumeAdoption } from '../../group/volumes/volume-adoption.ts';
import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { type ErrorKind, JnbdError } from '../../platform/errors.ts';
import type { OwnLoad } from '../../platform/own-load.ts';
import type { PaceSettings } from '../../platform/pace-settings.ts';
import { AnswerBody } from './answer-body.ts';
import { FollowedContents, type WantedFromSource } from './followed-contents.ts';
import { clearFollowConditions, raiseFollowCondition } from './follow-conditions.ts';
import { noteSourceAnswer, noteSourcePath } from '../peers/follow-ring.ts';
import { FullJournal } from './full-journal.ts';
import { changeFollowerState, type FollowerState } from './follower-states.ts';
import { type JournalReadOwner, SentRead } from './journal-read.ts';
import { LinkMeter } from './link-meter.ts';
import { decidePace, type PaceDecision, type PaceSituation, quietMillisecondsMax } from './pace.ts';
import { paceSituation } from './pace-situation.ts';
import { noMeasures, noteRead, noteStart, type PaceMeasures } from './pace-measures.ts';
import { register, registrationOf } from '../peers/registration.ts';
import { SourceLag } from './source-lag.ts';
import type { TransportClient } from '../transport/transport.ts';
import type { Caller, JournalAnswer } from '../protocol/wire.ts';
import type { Registered } from '../protocol/wire-json.ts';

export interface FollowerDependencies {
  readonly clock: Clock;
  readonly caller: Caller;
  /** Where other systems reach this one. */
  readonly listenPort: () => number;
  readonly load: () => OwnLoad;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  readonly disk: Disk;
  readonly files: GroupFiles;
  /** This follower is closed once its resync has begun. Rejects with JnbdError, and then nothing has changed. */
  readonly beginResync: (registered: Registered, isWanted: () => boolean) => Promise<void>;
  /** The source did not let it register. */
  readonly refused: (error: JnbdError) => void;
}

export interface FollowerSettings {
  readonly pace: PaceSettings;
  /** Reads at the source at the same time. */
  readonly links: number;
  readonly whenFull: WhenFull;
}

const backOffMillisecondsMin = 100;
const backOffMillisecondsMax = 5000;
/** What a command has to mend is looked at again so often. */
const refusedMilliseconds = 5000;
/** What the source refuses in these ways stays refused until somebody does something. */
const refusedKinds: readonly ErrorKind[] = ['refused', 'not_found', 'usage'];

/**
 * Follows one group's source: asks for what comes behind the newest record, appends it, and tells with
 * each read what is durable and applied here. Reads never wait for apply; a full journal, or memory
 * that is full, stops the link until there is room.
 */
export class Follower implements JournalReadOwner, GroupWatcher {
  readonly #group: Group;
  readonly #client: TransportClient;
  readonly #deps: FollowerDependencies;
  readonly #settings: FollowerSettings;
  readonly #records: ReceivedRecords;
  readonly #contents: FollowedContents;
  readonly #body: AnswerBody;
  readonly #full: FullJournal;
  readonly #meter = new LinkMeter();
  /** In the order asked; the first one's body is being taken. */
  #reads: SentRead[] = [];
  #state: FollowerState = 'registering';
  #measures: PaceMeasures = noMeasures;
  #decision: PaceDecision | undefined;
  #source: JournalAnswer | undefined;
  sourceLineage: Lineage = [];
  #toldApplied = 0;
  #timer: Timer | undefined;
  #failures = 0;
  #isRetry = true;
  #failure: JnbdError | undefined;
  readonly #lag = new SourceLag();
  #registrationCount = 0;

  constructor(
    group: Group,
    adoption: VolumeAdoption,
    client: TransportClient,
    settings: FollowerSettings,
    deps: FollowerDependencies,
  ) {
    this.#group = group;
    this.#client = client;
    this.#settings = settings;
    this.#deps = deps;
    this.#records = new ReceivedRecords(group, adoption, () => this.#roomAppeared());
    this.#contents = new FollowedContents(group, deps.disk, deps.files, {
      roomAppeared: () => this.#roomAppeared(),
      askable: () => this.#consider(),
      failed: (error) => this.#tryAgain(error),
      tell: (code, message) => deps.event(code, message, { group: group.name }),
    });
    this.#body = new AnswerBody(group, this.#records, this.#contents.copies, () =>
      deps.clock.soon(() => this.#roomAppeared()),
    );
    this.#full = new FullJournal(group, deps.clock, settings.whenFull, {
      isBlocked: () => this.#body.isBlocked,
      drop: (error) => this.#tryAgain(error),
    });
    group.watchers.add(this);
  }

  get state(): FollowerState {
    return this.#state;
  }
  /** What the source told last. */
  get source(): JournalAnswer | undefined {
    return this.#source;
  }
  get decision(): PaceDecision | undefined {
    return this.#decision;
  }
  get resync(): ResyncedRegions | undefined {
    return this.#contents.underWay;
  }
  /** Why it waits or was refused. */
  get failure(): JnbdError | undefined {
    return this.#failure;
  }

  /** Age of the oldest record that the source has and this system does not, as far as is known. */
  lagSeconds(): number {
    return this.#lag.seconds(this.#now(), this.#state !== 'reading', this.#reads[0]);
  }

  start(): void {
    if (this.#group.follow.state?.isSuspended) this.#become('suspended');
    else void this.#register();
  }

  suspend(): void {
    if (this.#state === 'suspended' || this.#state === 'closed') return;
    this.#stopReading();
    clearFollowConditions(this.#group, this.#state);
    this.#become('suspended');
  }

  resume(): void {
    if (this.#state !== 'suspended') return;
    this.#become('registering');
    void this.#register();
  }

  /** Nothing is received any more; what was appended stays. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#stopReading();
    clearFollowConditions(this.#group, this.#state);
    this.#become('closed');
    this.#group.watchers.delete(this);
    this.#contents.close();
    this.#records.close();
    this.#client.close();
  }

  durableAdvanced(): void {
    this.#consider();
  }

  appliedAdvanced(): void {
    this.#consider();
  }

  answered(read: SentRead): void {
    const answer = must(read.answer, 'the head was decoded');
    this.#source = answer;
    this.#lag.heard(answer, this.#now());
    this.#attempt(() => noteSourceAnswer(this.#group, this.#deps.caller.systemId, answer));
    if (this.#state !== 'reading') return;
    if (read === this.#reads[0]) this.#beginBody(read);
    this.#consider();
  }

  bytes(read: SentRead, bytes: Uint8Array): void {
    this.#attempt(() => {
      this.#body.take(bytes);
      if (!this.#body.isBlocked) return;
      read.pause();
      this.#full.blocked();
    });
  }

  ended(read: SentRead): void {
    if (this.#body.isBlocked) return;
    const answer = must(read.answer, 'the head was decoded');
    if (read.bodyBytes > 0 && !this.#body.isWhole) {
      this.#tryAgain(new JnbdError('connection_lost', 'an answer of the source was cut off'));
      return;
    }
    if (read.bodyBytes > 0 && this.#group.watermarks.newest !== answer.through.number) {
      const { newest } = this.#group.watermarks;
      const text = `an answer that reaches to ${answer.through.number} ended at ${newest}`;
      this.#tryAgain(new JnbdError('protocol_violated', text));
      return;
    }
    this.#failures = 0;
    this.#failure = undefined;
    this.#reads.shift();
    this.#contents.copies.answerEnded();
    this.#measures = noteRead(this.#measures, {
      startedAtMilliseconds: read.startedAtMilliseconds,
      endedAtMilliseconds: this.#now(),
      askedBytes: read.asked.batchBytes,
      bytes: read.bodyBytes,
      records: this.#body.takenRecords,
    });
    const [next] = this.#reads;
    if (next?.answer) this.#beginBody(next);
    this.#consider();
  }

  failed(_read: SentRead, error: JnbdError): void {
    this.#tryAgain(error);
  }

  #beginBody(read: SentRead): void {
    this.#body.begin();
    read.itsTurn();
  }

  #roomAppeared(): void {
    const [read] = this.#reads;
    if (!read || !this.#body.isBlocked) return;
    this.#attempt(() => {
      this.#body.goOn();
      if (this.#body.isBlocked) return;
      read.resume();
      if (read.hasEnded) this.ended(read);
    });
  }

  #attempt(run: () => void): void {
    if (this.#state !== 'reading') return;
    try {
      run();
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.#tryAgain(error);
    }
  }

  /** Sends the next read if there is one to send now. */
  #consider(): void {
    const isFull = this.#reads.length >= this.#contents.readsMax(this.#settings.links);
    const isKnown = this.#reads.every(({ answer }) => answer !== undefined);
    if (this.#state !== 'reading' || isFull || !isKnown || this.#group.state !== 'normal') return;
    const decision = decidePace(this.#settings.pace, this.#measures, this.#situation());
    this.#decision = decision;
    this.#timer?.cancel();
    this.#timer = undefined;
    const wait = decision.readAtMilliseconds - this.#now();
    if (wait > 0) {
      this.#timer = this.#deps.clock.after(wait, () => {
        this.#timer = undefined;
        this.#consider();
      });
      return;
    }
    const wanted = this.#contents.wanted();
    if (wanted) this.#send(decision, wanted);
  }

  #send({ batchBytes, waitMilliseconds }: PaceDecision, wanted: WantedFromSource): void {
    const { watermarks, catalog } = this.#group;
    const last = this.#reads.at(-1)?.answer?.through;
    // A source that grows a volume, waits until the file here has grown: until then its record is not here.
    const received = this.#group.changes.settledThrough(watermarks.durable);
    const applied = Math.min(watermarks.applied, received);
    this.#measures = noteStart(this.#measures, this.#now());
    this.#toldApplied = applied;
    const read = new SentRead(
      this.#client,
      catalog.groupId,
      this.#deps.caller,
      {
        position: last ?? positionOf(catalog.lineage, watermarks.newest),
        received,
        applied,
        batchBytes,
        waitMilliseconds,
        againMilliseconds: waitMilliseconds + quietMillisecondsMax(this.#settings.pace),
        isRetry: this.#isRetry,
        ...wanted,
      },
      this.#meter,
      () => this.#now(),
      this,
    );
    this.#isRetry = false;
    this.#reads.push(read);
  }

  #situation(): PaceSituation {
    const { chain, watermarks } = this.#group;
    return paceSituation({
      now: this.#now(),
      position: this.#reads.at(-1)?.answer?.through.number ?? watermarks.newest,
      toldApplied: this.#toldApplied,
      meter: this.#meter,
      chain,
      load: this.#deps.load(),
      source: this.#source,
    });
  }

  async #register(): Promise<void> {
    this.#registrationCount += 1;
    const count = this.#registrationCount;
    const state = must(this.#group.follow.state, 'a group that follows has a source');
    try {
      const { caller, listenPort } = this.#deps;
      const wanted = registrationOf(this.#group, listenPort());
      const told: Registered = await register(this.#client, caller, state.sourceGroup, wanted);
      noteSourcePath(this.#group, caller.systemId, told.path);
      this.sourceLineage = told.lineage;
      if (told.resync && count === this.#registrationCount) {
        await this.#contents.copies.settled();
        await this.#deps.beginResync(told, () => count === this.#registrationCount);
        return;
      }
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      if (count !== this.#registrationCount) return;
      this.#tryAgain(error);
      this.#deps.refused(error);
      return;
    }
    if (count !== this.#registrationCount || this.#state !== 'registering') return;
    // What it followed here before a handoff, or a promotion, it follows no more.
    this.#group.followers.drop(state.sourceSystemId);
    this.#become('reading');
    clearFollowConditions(this.#group, this.#state);
    this.#isRetry = true;
    this.#consider();
  }

  /** Drops what is under way, and begins again behind what is appended, after a while. */
  #tryAgain(error: JnbdError): void {
    if (this.#state !== 'reading' && this.#state !== 'registering') return;
    this.#stopReading();
    const { handedOver } = this.#group.catalog;
    // A system that stops comes back; an heir may not have applied yet that the group is its own.
    const isPassing =
      error.code === 'shutting_down' || (handedOver && error.code === 'follow_loop');
    const isRefused = refusedKinds.includes(error.kind) && !isPassing;
    this.#failure = error;
    this.#failures += 1;
    this.#become(isRefused ? 'refused' : 'waiting');
    raiseFollowCondition(this.#group, isRefused, error);
    const backOff = Math.min(backOffMillisecondsMax, backOffMillisecondsMin * 2 ** this.#failures);
    this.#registerAfter(isRefused ? refusedMilliseconds : backOff);
  }

  #registerAfter(milliseconds: number): void {
    this.#timer = this.#deps.clock.after(milliseconds, () => {
      this.#timer = undefined;
      if (this.#full.forbidsReading) return this.#registerAfter(milliseconds);
      this.#become('registering');
      void this.#register();
    });
  }

  #stopReading(): void {
    this.#full.cancel();
    this.#registrationCount += 1;
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const read of this.#reads) read.abandon();
    this.#reads = [];
    this.#body.close();
    this.#contents.copies.startAgain();
  }

  #become(state: FollowerState): void {
    this.#state = changeFollowerState(this.#state, state);
  }

  #now(): number {
    return this.#deps.clock.monotonicMilliseconds();
  }
}
