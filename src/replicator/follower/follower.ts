import type { Group } from '../../group/order/group.ts';
import type { GroupWatcher } from '../../group/order/group-watcher.ts';
import type { Lineage } from '../../group/catalog/lineage.ts';
import { ReceivedRecords } from '../../group/volumes/received-records.ts';
import type { ResyncedRegions } from '../../group/volumes/resynced-regions.ts';
import type { VolumeAdoption } from '../../group/volumes/volume-adoption.ts';
import { must } from '../../platform/assert.ts';
import type { Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { AnswerBody } from './answer-body.ts';
import { FollowedContents, type WantedFromSource } from './followed-contents.ts';
import { clearFollowConditions, needsCommand, raiseFollowCondition } from './follow-conditions.ts';
import { noteSourceAnswer, noteSourcePath } from '../peers/follow-ring.ts';
import type { FollowerDependencies, FollowerSettings } from './follower-dependencies.ts';
import { FullJournal } from './full-journal.ts';
import { changeFollowerState, type FollowerState } from './follower-states.ts';
import { type JournalReadOwner, SentRead } from './journal-read.ts';
import { LinkMeter } from './link-meter.ts';
import { decidePace, type PaceDecision, type PaceSituation, quietMillisecondsMax } from './pace.ts';
import { paceSituation } from './pace-situation.ts';
import { noMeasures, noteRead, noteStart, type PaceMeasures } from './pace-measures.ts';
import { checkContents } from '../peers/contents-check.ts';
import { register, registrationOf } from '../peers/registration.ts';
import { type NextReadDecision, nextRead } from './next-read.ts';
import { confirmByRead } from './source-confirmations.ts';
import { SourceLag } from './source-lag.ts';
import { leaseOf } from './source-lease.ts';
import { SourceStreams } from './source-streams.ts';
import type { TransportClient } from '../transport/transport.ts';
import { batchBytesMin, type JournalAnswer, type JournalRead } from '../protocol/wire.ts';
import type { Registered } from '../protocol/wire-json.ts';

const backOffMillisecondsMin = 100;
const backOffMillisecondsMax = 5000;
/** What a command has to mend is looked at again so often. */
const refusedMilliseconds = 5000;

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
  /** Instead of reads. */
  readonly #stream: SourceStreams;
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
  readonly #now = (): number => this.#deps.clock.monotonicMilliseconds();

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
    const roomAppeared = (): void => deps.clock.soon(() => this.#roomAppeared());
    this.#body = new AnswerBody(group, this.#records, this.#contents.copies, roomAppeared);
    this.#full = new FullJournal(group, deps.clock, settings.whenFull, {
      isBlocked: () => this.#body.isBlocked,
      drop: (error) => this.#tryAgain(error),
    });
    this.#stream = new SourceStreams(
      { ...deps, group, client, body: this.#body },
      {
        told: (answer, isWhole) => this.#told(answer, isWhole),
        blocked: () => this.#full.blocked(),
        failed: (error) => this.#tryAgain(error),
        over: () => {
          this.#isRetry = true;
          this.#consider();
        },
      },
    );
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
    this.#stream.acknowledge();
    this.#consider();
  }

  appliedAdvanced(): void {
    this.durableAdvanced();
  }

  changed(): void {
    this.#stream.acknowledge();
    // It may have had no room in its journal to be opened with before.
    if (this.#decision === undefined) this.#consider();
  }

  answered(read: SentRead): void {
    const answer = must(read.answer, 'the head was decoded');
    leaseOf(this.#group).told(answer.synchronous);
    confirmByRead(this.#group, answer);
    this.#told(answer, true);
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

  #told(answer: JournalAnswer, isWhole: boolean): void {
    this.#source = answer;
    this.#lag.heard(answer, this.#now());
    if (!isWhole) return;
    this.#attempt(() => noteSourceAnswer(this.#group, this.#deps.caller.systemId, answer));
  }

  #roomAppeared(): void {
    this.#stream.roomAppeared();
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
    if (this.#streams()) return;
    const decision = decidePace(this.#settings.pace, this.#measures, this.#situation());
    this.#decision = decision;
    this.#timer?.cancel();
    this.#timer = undefined;
    const wait = decision.readAtMilliseconds - this.#now();
    if (wait > 0) {
      this.#timer = this.#deps.clock.after(wait, () => this.#consider());
      return;
    }
    const wanted = this.#contents.wanted();
    if (!wanted) return;
    const asked = this.#nextRead(decision, wanted);
    const { groupId } = this.#group.catalog;
    const { caller } = this.#deps;
    const read = new SentRead(this.#client, groupId, caller, asked, this.#meter, this.#now, this);
    this.#reads.push(read);
    this.#isRetry = false;
  }

  /** True: once nothing else is on its way, what comes next comes on a stream. */
  #streams(): boolean {
    const { synchronous } = this.#source ?? {};
    if (this.#stream.isOpen) return true;
    const mayStream = !this.#isRetry && !this.#contents.isWanted && !this.#full.forbidsReading;
    if (!synchronous || !mayStream || !this.#stream.isDue(this.#source)) return false;
    if (this.#reads.length > 0) return true;
    const members = this.#group.followers.members.below();
    const decision = { batchBytes: batchBytesMin, waitMilliseconds: 0 };
    const asked = this.#nextRead(decision, { copied: [], ranges: [], members });
    this.#decision = undefined;
    this.#stream.begin(asked, synchronous.timeoutMilliseconds);
    return true;
  }

  #nextRead(decision: NextReadDecision, wanted: WantedFromSource): JournalRead {
    const asked = nextRead(
      this.#group,
      this.#reads.at(-1)?.answer?.through,
      this.#source?.synchronous,
      leaseOf(this.#group),
      decision,
      quietMillisecondsMax(this.#settings.pace),
    );
    this.#measures = noteStart(this.#measures, this.#now());
    this.#toldApplied = asked.applied;
    return { ...asked, ...wanted, isRetry: this.#isRetry };
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
      checkContents(this.#group, told);
      noteSourcePath(this.#group, caller.systemId, told.path);
      leaseOf(this.#group).begin(told.systemId);
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
    this.#isRetry = true;
    this.#become('reading');
    clearFollowConditions(this.#group, this.#state);
    this.#consider();
  }

  /** Drops what is under way, and begins again behind what is appended, after a while. */
  #tryAgain(error: JnbdError): void {
    if (this.#state !== 'reading' && this.#state !== 'registering') return;
    this.#stopReading();
    const isRefused = needsCommand(this.#group, error);
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
    this.#stream.close();
    for (const read of this.#reads) read.abandon();
    this.#reads = [];
    this.#body.close();
    this.#contents.copies.startAgain();
  }

  #become(state: FollowerState): void {
    this.#state = changeFollowerState(this.#state, state);
  }
}
