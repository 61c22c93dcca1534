import type { ExportClient, ExportSession } from '../../../src/group/apply/export.ts';
import { must } from '../../../src/platform/assert.ts';
import { slabHeadroomBytes } from '../../../src/platform/limits.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedClock } from '../simulated-clock.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import { blockOf, cutBlockBytes, type CutLedger, type LedgerWrite } from './cut-ledger.ts';
import type { CutNode, CutPair } from './cut-system.ts';

const headerBytes = 28;
/** After which a host that is not answered gives up and begins anew elsewhere. */
const patienceMilliseconds = 400;
const quietMilliseconds = 10;

/** A connection of a host, in one life of a system. */
class Connection implements ExportClient {
  readonly peer = '10.0.0.9:1';
  readonly session: ExportSession;
  readonly node: CutNode;
  readonly #daemon: CutNode['system']['daemon'];
  isParked = false;
  isGone = false;

  constructor(node: CutNode, session: (client: ExportClient) => ExportSession | undefined) {
    this.node = node;
    this.#daemon = node.system.daemon;
    this.session = must(session(this), `${node.name} exports its volume`);
  }

  get isUsable(): boolean {
    return !this.isGone && this.node.isUp && this.node.system.daemon === this.#daemon;
  }

  admitted(): void {
    this.isParked = false;
  }
  durableReached(): void {}
  durableFailed(): void {
    this.isGone = true;
  }
  readCompleted(): void {}
  revoke(): void {
    this.isGone = true;
  }
}

/**
 * Hosts that write to one system after the other, each write because of the one before: once that was
 * answered, or once another host has read it, there or from the system's secondary.
 */
export class CutHosts {
  readonly #clock: SimulatedClock;
  readonly #random: SimulatedRandom;
  readonly #counter: FaultCounter;
  readonly #ledger: CutLedger;
  readonly #pairs: readonly CutPair[];
  readonly #isQuiet: () => boolean;
  readonly #connections = new Map<string, Connection>();
  #tokens = 0;
  #isOver = false;
  writes = 0;

  constructor(parts: {
    readonly clock: SimulatedClock;
    readonly random: SimulatedRandom;
    readonly counter: FaultCounter;
    readonly ledger: CutLedger;
    readonly pairs: readonly CutPair[];
    /** Nothing goes on that they are to meet: they take their time. */
    readonly isQuiet: () => boolean;
  }) {
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#counter = parts.counter;
    this.#ledger = parts.ledger;
    this.#pairs = parts.pairs;
    this.#isQuiet = parts.isQuiet;
  }

  /** So many hosts at once, each with blocks of its own. */
  start(count: number, blocks: number): void {
    for (let host = 0; host < count; host += 1) {
      this.#go(host * blocks, blocks, 0, undefined);
    }
  }

  stop(): void {
    this.#isOver = true;
  }

  /** The next write is issued because of `because`, which was seen. */
  #go(first: number, blocks: number, system: number, because: LedgerWrite | undefined): void {
    const next = this.#otherThan(system);
    const pause = this.#isQuiet() ? quietMilliseconds : this.#random.pick([0.2, 0.2, 2]);
    this.#clock.after(this.#random.fraction() * pause, () => {
      if (this.#isOver) return;
      const offset = (first + this.#random.int(blocks)) * cutBlockBytes;
      const connection = this.#connect(must(this.#pairs[next], 'a system').primary, 'writer');
      const write = connection && this.#write(connection, next, offset, because);
      if (write) this.#see(connection, write, (seen) => this.#go(first, blocks, next, seen));
      else
        this.#clock.after(this.#isQuiet() ? quietMilliseconds : 2, () =>
          this.#go(first, blocks, next, because),
        );
    });
  }

  #otherThan(system: number): number {
    const step = this.#random.between(1, this.#pairs.length - 1);
    return (system + step) % this.#pairs.length;
  }

  #connect(node: CutNode, who: string): Connection | undefined {
    const key = `${node.name} ${who}`;
    const known = this.#connections.get(key);
    if (known?.isUsable) return known.isParked ? undefined : known;
    this.#connections.delete(key);
    if (!node.isUp) return undefined;
    try {
      const connection = new Connection(node, (client) => node.open(client));
      this.#connections.set(key, connection);
      return connection;
    } catch {
      return undefined;
    }
  }

  #write(
    connection: Connection,
    system: number,
    offset: number,
    because: LedgerWrite | undefined,
  ): (LedgerWrite & { readonly isAnswered: boolean }) | undefined {
    const { session } = connection;
    if (!session.admit(cutBlockBytes + 64)) {
      connection.isParked = true;
      return undefined;
    }
    const slab = session.slabs.take();
    if (!slab) return undefined;
    this.#tokens += 1;
    const token = this.#tokens;
    slab.bytes.set(blockOf(token), slabHeadroomBytes + headerBytes);
    const number = session.stampWrite(slab, slabHeadroomBytes, headerBytes, offset, cutBlockBytes);
    if (number <= 0) {
      session.retire(slab);
      return undefined;
    }
    const write = { system, number, token, offset, because, isLost: false };
    this.#ledger.add(write);
    this.writes += 1;
    session.commitRun();
    session.retire(slab);
    const asksForDurability = this.#random.chance(0.3);
    const isAnswered = !asksForDurability && number <= session.plainThrough;
    if (!isAnswered) session.requestDurable(number);
    return Object.assign(write, { isAnswered });
  }

  /** Calls back with the write once it was seen, or with nothing once nobody will see it. */
  #see(
    connection: Connection,
    write: LedgerWrite & { readonly isAnswered: boolean },
    then: (seen: LedgerWrite | undefined) => void,
  ): void {
    const how = this.#random.pick([
      'answered',
      'answered',
      'read',
      'read',
      'read elsewhere',
    ] as const);
    const deadline = this.#clock.monotonicMilliseconds() + patienceMilliseconds;
    const isSeen = (): boolean => {
      if (how === 'answered') {
        if (!connection.isUsable) return false;
        return write.isAnswered || write.number <= connection.session.answerable;
      }
      const { primary, secondary } = must(this.#pairs[write.system], 'a system');
      return this.#reads(how === 'read' ? primary : secondary, write);
    };
    const look = (): void => {
      if (this.#isOver) return;
      if (isSeen()) {
        this.#counter.count(`write ${how}`);
        then(write);
      } else if (this.#clock.monotonicMilliseconds() > deadline) then(undefined);
      else this.#clock.after(this.#isQuiet() ? quietMilliseconds : 0.3, look);
    };
    look();
  }

  #reads(node: CutNode, { offset, token }: LedgerWrite): boolean {
    const connection = this.#connect(node, `reader ${this.#random.int(4)}`);
    if (!connection) return false;
    const { session } = connection;
    if (!session.admitsRead(offset, cutBlockBytes)) {
      connection.isParked = true;
      this.#counter.count('read held');
      return false;
    }
    const bytes = Buffer.alloc(cutBlockBytes);
    return session.read(offset, cutBlockBytes, bytes, 0, 0) === 0 && bytes.equals(blockOf(token));
  }
}
