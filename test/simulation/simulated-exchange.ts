import type { Clock, Timer } from '../../src/platform/clock.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { KiB } from '../../src/platform/limits.ts';
import { frameHeaderBytes, frameKind, frameMagic } from '../../src/replicator/protocol/frames.ts';
import type {
  Answer,
  AnswerReceiver,
  Exchange,
  IncomingRequest,
  RequestLimits,
  TransportRequest,
} from '../../src/replicator/transport/transport.ts';
import type { WireHeaders } from '../../src/replicator/protocol/wire.ts';
import type { LinkServer, OpenExchange, SimulatedLinks } from './simulated-links.ts';
import type { SimulatedRandom } from './simulated-random.ts';

const pieceBytesChoices = [1, 100, 16 * KiB, 16 * KiB, 64 * KiB, 64 * KiB];

interface Asker {
  readonly from: string;
  readonly to: string;
  readonly clock: Clock;
}

/** One request and its answer: what is sent arrives in order, in pieces of any size, some time later. */
export class SimulatedExchange implements Exchange, Answer, OpenExchange {
  readonly from: string;
  readonly to: string;
  readonly #links: SimulatedLinks;
  readonly #clock: Clock;
  readonly #limits: RequestLimits;
  readonly #receiver: AnswerReceiver;
  readonly #over: () => void;
  #gone: () => void = () => undefined;
  #queue: (() => void)[] = [];
  /** Of the queue, what the receiver is told. */
  readonly #pieces = new Set<() => void>();
  #isRunning = false;
  #isPaused = false;
  #isStalled = false;
  #isOver = false;
  #hasEnded = false;
  #hasHead = false;
  #silence: Timer | undefined;
  #serverClock: Clock | undefined;
  /** Of the body of a stream, what has not arrived yet. */
  readonly #sent: Uint8Array[] = [];
  #isSending = false;
  #received: ((bytes: Uint8Array) => void) | undefined;

  constructor(
    links: SimulatedLinks,
    { from, to, clock }: Asker,
    limits: RequestLimits,
    receiver: AnswerReceiver,
    over: () => void,
  ) {
    this.#links = links;
    this.from = from;
    this.to = to;
    this.#clock = clock;
    this.#limits = limits;
    this.#receiver = receiver;
    this.#over = over;
    links.opened(this);
    clock.after(limits.headMilliseconds, () => {
      if (!this.#hasHead) this.fail(new JnbdError('peer_silent', 'no answer came in time'));
    });
  }

  deliver(request: TransportRequest, server: LinkServer): void {
    if (this.#isOver) return;
    this.#serverClock = server.clock;
    if (request.headers['jnbd-retry'] === '1') this.#links.counter.count('read repeated');
    const incoming: IncomingRequest = {
      method: request.method,
      path: request.path,
      query: '',
      headers: request.headers,
      body: request.body ?? new Uint8Array(0),
      identity: this.#links.identity,
      peer: this.from,
      ...(request.isStream ? { stream: { receive: (to) => this.#receive(to) } } : {}),
    };
    server.clock.soon(() => {
      if (!this.#isOver) server.handler(incoming, this);
    });
  }

  head(status: number, headers: WireHeaders): void {
    if (this.#isOver) return;
    if (this.#links.strikes('lostAnswers', 'answer lost')) {
      this.break();
      return;
    }
    this.#push(() => {
      this.#hasHead = true;
      this.#receiver.head(status, headers);
    });
  }

  send(bytes: Uint8Array, taken: () => void): void {
    const sent = this.#links.strikes('garbles', 'answer garbled')
      ? garbled(bytes, this.#links.random)
      : bytes;
    for (let at = 0; at < sent.length; ) {
      const length = Math.min(this.#pieceBytes(), sent.length - at);
      const piece = Uint8Array.from(sent.subarray(at, at + length));
      this.#push(() => this.#receiver.body(piece));
      at += length;
    }
    const tell = (): void => {
      this.#serverClock?.soon(taken);
    };
    if (this.#isOver) tell();
    else this.#queue.push(tell);
  }

  end(): void {
    this.#hasEnded = true;
    this.#push(() => {
      this.#finish();
      this.#receiver.ended();
    });
  }

  whenGone(gone: () => void): void {
    this.#gone = gone;
  }

  /** In order, in pieces of any size; what is cut off or silent on the way never arrives. */
  write(bytes: Uint8Array, taken: () => void): void {
    if (this.#isOver) return;
    const sent = this.#links.strikes('garbles', 'answer garbled')
      ? garbled(bytes, this.#links.random)
      : bytes;
    for (let at = 0; at < sent.length; ) {
      const length = Math.min(this.#pieceBytes(), sent.length - at);
      this.#sent.push(Uint8Array.from(sent.subarray(at, at + length)));
      at += length;
    }
    this.#clock.soon(() => {
      if (!this.#isOver) taken();
    });
    this.#runSent();
  }

  #receive(to: (bytes: Uint8Array) => void): void {
    this.#received = to;
    this.#runSent();
  }

  #runSent(): void {
    if (this.#isSending || this.#isOver || this.#sent.length === 0 || !this.#received) return;
    if (this.#links.cutBetween(this.from, this.to) === 'silent') return;
    this.#isSending = true;
    this.#links.later(this.from, this.to, () =>
      this.#serverClock?.soon(() => {
        this.#isSending = false;
        const next = this.#isOver || this.#hasEnded ? undefined : this.#sent.shift();
        if (next) this.#received?.(next);
        this.#runSent();
      }),
    );
  }

  pause(): void {
    this.#isPaused = true;
    this.#heard();
  }

  resume(): void {
    this.#isPaused = false;
    this.#run();
  }

  goOn(): void {
    this.#run();
    this.#runSent();
  }

  /** Of either side. */
  abort(): void {
    this.fail(new JnbdError('request_aborted', 'the request was given up'));
  }

  break(): void {
    this.fail(new JnbdError('connection_lost', 'the connection is lost'));
  }

  fail(error: JnbdError): void {
    if (this.#isOver) return;
    this.#finish();
    this.#clock.soon(() => this.#receiver.failed(error));
    if (!this.#hasEnded) this.#serverClock?.soon(() => this.#gone());
  }

  #finish(): void {
    this.#isOver = true;
    this.#heard();
    const left = this.#queue.splice(0);
    this.#links.closed(this);
    this.#over();
    // Whoever waits for a piece to be taken is told: nothing of it is needed any more.
    for (const run of left) if (!this.#pieces.has(run)) run();
  }

  #push(run: () => void): void {
    if (this.#isOver) return;
    this.#pieces.add(run);
    this.#queue.push(run);
    this.#run();
  }

  #run(): void {
    if (this.#isRunning || this.#isPaused || this.#isOver || this.#queue.length === 0) return;
    if (this.#isStalled || this.#links.cutBetween(this.from, this.to) === 'silent') {
      this.#awaitSilence();
      return;
    }
    this.#isRunning = true;
    this.#links.later(this.from, this.to, () =>
      this.#clock.soon(() => {
        this.#isRunning = false;
        if (this.#isOver || this.#isPaused) return;
        if (this.#isBroken()) return;
        const next = this.#queue.shift();
        if (next) {
          this.#heard();
          this.#pieces.delete(next);
          next();
        }
        this.#run();
      }),
    );
  }

  #isBroken(): boolean {
    if (this.#links.strikes('breaks', 'answer cut off')) {
      this.break();
      return true;
    }
    if (this.#hasHead && this.#links.strikes('stalls', 'answer stalled')) {
      this.#isStalled = true;
      this.#awaitSilence();
      return true;
    }
    return false;
  }

  /** Whoever reads and gets nothing gives up in the end; for the head there is a time of its own. */
  #awaitSilence(): void {
    if (!this.#hasHead) return;
    this.#silence ??= this.#clock.after(this.#limits.silenceMilliseconds, () => {
      this.#silence = undefined;
      this.fail(new JnbdError('peer_silent', 'nothing more came for too long'));
    });
  }

  #heard(): void {
    this.#silence?.cancel();
    this.#silence = undefined;
  }

  #pieceBytes(): number {
    const at = Math.floor(this.#links.random.fraction() * pieceBytesChoices.length);
    return pieceBytesChoices[at] ?? 1;
  }
}

/**
 * A bit of the frames is another one. Not of a stretch: that says what it says, and what becomes of it
 * on the way is between the transport's checksums and the bits.
 */
function garbled(bytes: Uint8Array, random: SimulatedRandom): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const frames: { readonly start: number; readonly end: number }[] = [];
  for (let at = 0; at + frameHeaderBytes <= bytes.length; ) {
    if (view.getUint32(at, true) !== frameMagic) return bytes;
    const end = at + frameHeaderBytes + view.getUint32(at + 8, true);
    if (view.getUint8(at + 4) !== frameKind.stretch) frames.push({ start: at, end });
    at = end;
  }
  if (frames.length === 0) return bytes;
  const { start, end } = random.pick(frames);
  const copy = Uint8Array.from(bytes);
  const at = random.between(start, end - 1);
  copy[at] = (copy[at] ?? 0) ^ (1 << random.int(8));
  return copy;
}
