import { assert } from '../platform/assert.ts';
import { answerOption, encodeFacts } from './handshake-options.ts';
import {
  type ExportFacts,
  type HandshakeDirectory,
  type Negotiated,
  nothingNegotiated,
  type TlsMode,
  transmissionFlags,
} from './negotiation.ts';
import {
  decodeOptionHeader,
  encodeAck,
  encodeExportNameReply,
  encodeGreeting,
  encodeOptionError,
} from './option-codec.ts';
import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_STARTTLS,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_TOO_BIG,
  clientFlagsBytes,
  optionHeaderBytes,
  viewOf,
} from './wire.ts';

/** Longer option data is read over and answered with TOO_BIG; much longer is not worth staying for. */
export const optionDataBytesMax = 64 * 1024;
/** About so much is answered at a time. */
const portionBytes = 64 * 1024;
const optionDataBytesSkippedMax = 1024 * 1024;

export type HandshakeState =
  | { readonly phase: 'client_flags' }
  | { readonly phase: 'option_header' }
  | { readonly phase: 'option_data'; readonly option: number; readonly length: number }
  | { readonly phase: 'skipping'; readonly option: number; readonly remaining: number }
  | { readonly phase: 'securing' }
  | {
      readonly phase: 'opening';
      readonly option: number;
      readonly exportName: string;
      readonly information: readonly number[];
    }
  | { readonly phase: 'transmission' }
  | { readonly phase: 'closed' };

type Phase = HandshakeState['phase'];

interface Refusal {
  readonly type: number;
  readonly text: string;
}

const tooMuchData: Refusal = {
  type: NBD_REP_ERR_TOO_BIG,
  text: `option data is limited to ${optionDataBytesMax} bytes`,
};

const transitions: Record<Phase, readonly Phase[]> = {
  client_flags: ['option_header', 'closed'],
  option_header: ['option_data', 'skipping', 'closed'],
  option_data: ['option_header', 'securing', 'opening', 'closed'],
  skipping: ['skipping', 'option_header', 'closed'],
  securing: ['option_header', 'closed'],
  opening: ['transmission', 'option_header', 'closed'],
  transmission: [],
  closed: [],
};

export type HandshakeAction =
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /** Start TLS, then `secured()`. */
  | { readonly kind: 'secure' }
  /** Open the export, then `opened()` or `refused()`. */
  | { readonly kind: 'open'; readonly exportName: string }
  /** What was sent is to arrive. */
  | { readonly kind: 'close' }
  /** The peer broke a rule: nothing more is owed to it. */
  | { readonly kind: 'destroy' };

/**
 * The server's side of the fixed newstyle handshake. Pure: bytes in, actions out, in order. A client
 * may send options without waiting for answers; each is answered in turn, and while `isHeld` nothing
 * more is to be received.
 */
export class Handshake {
  readonly #directory: HandshakeDirectory;
  readonly #tlsMode: TlsMode;
  #state: HandshakeState = { phase: 'client_flags' };
  #negotiated: Negotiated = nothingNegotiated;
  #isFixed = false;
  #isPadded = true;
  #isSecure = false;
  #isShuttingDown = false;
  #input = Buffer.alloc(512);
  #start = 0;
  #end = 0;
  #actions: HandshakeAction[] = [];
  #sentBytes = 0;
  #isHeld = false;

  constructor(directory: HandshakeDirectory, tlsMode: TlsMode) {
    this.#directory = directory;
    this.#tlsMode = tlsMode;
  }

  get state(): HandshakeState {
    return this.#state;
  }

  get negotiated(): Negotiated {
    return this.#negotiated;
  }

  greet(): HandshakeAction[] {
    return [{ kind: 'send', bytes: encodeGreeting() }];
  }

  receive(bytes: Uint8Array): HandshakeAction[] {
    this.#append(bytes);
    return this.#run();
  }

  /** TLS is up. */
  secured(): HandshakeAction[] {
    this.#isSecure = true;
    // Whatever was agreed on in the open could have been put there by anybody.
    this.#negotiated = nothingNegotiated;
    this.#move({ phase: 'option_header' });
    return this.#run();
  }

  /** The export is open: from here on the connection is in transmission. */
  opened(facts: ExportFacts): HandshakeAction[] {
    const { option, exportName, information } = this.#opening();
    const flags = transmissionFlags(facts, this.#negotiated, exportName);
    this.#move({ phase: 'transmission' });
    if (option === NBD_OPT_EXPORT_NAME) {
      this.#send(encodeExportNameReply(facts.sizeBytes, flags, this.#isPadded));
    } else {
      for (const bytes of encodeFacts(option, facts, flags, information)) this.#send(bytes);
      this.#send(encodeAck(option));
    }
    return this.#take();
  }

  /** The export cannot be opened: `type` is an error reply, `text` a sentence for the client. */
  refused(type: number, text: string): HandshakeAction[] {
    const { option } = this.#opening();
    if (option === NBD_OPT_EXPORT_NAME) {
      this.#destroy();
      return this.#take();
    }
    this.#send(encodeOptionError(option, type, text));
    this.#move({ phase: 'option_header' });
    return this.#run();
  }

  /** From now on every option but ABORT is answered with SHUTDOWN. */
  shutDown(): void {
    this.#isShuttingDown = true;
  }

  /** Bytes behind the last option, the first requests of the transmission; nothing else is kept. */
  takeRest(): Uint8Array {
    const rest = this.#input.subarray(this.#start, this.#end);
    this.#start = this.#end = 0;
    this.#input = Buffer.alloc(0);
    return rest;
  }

  #opening(): Extract<HandshakeState, { phase: 'opening' }> {
    const state = this.#state;
    assert(state.phase === 'opening', `an export is opened while opening, not in ${state.phase}`);
    return state;
  }

  #move(next: HandshakeState): void {
    const allowed = transitions[this.#state.phase];
    assert(allowed.includes(next.phase), `handshake: ${this.#state.phase} to ${next.phase}`);
    this.#state = next;
  }

  #send(bytes: Uint8Array): void {
    this.#sentBytes += bytes.length;
    this.#actions.push({ kind: 'send', bytes });
  }

  #take(): HandshakeAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  #destroy(): void {
    this.#move({ phase: 'closed' });
    this.#actions.push({ kind: 'destroy' });
  }

  #append(bytes: Uint8Array): void {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    const needed = this.#end - this.#start + bytes.length;
    if (this.#end + bytes.length > this.#input.length) {
      // Grows with what arrived, never with what was announced.
      const larger = needed > this.#input.length / 2 ? Buffer.alloc(2 * needed) : this.#input;
      this.#input.copy(larger, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      this.#input = larger;
    }
    this.#input.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** The next `count` bytes, or `undefined` while they are not all there. */
  #next(count: number): Uint8Array | undefined {
    if (this.#end - this.#start < count) return undefined;
    const bytes = this.#input.subarray(this.#start, this.#start + count);
    this.#start += count;
    return bytes;
  }

  /** Goes on with what was received, after `isHeld`. */
  proceed(): HandshakeAction[] {
    return this.#run();
  }

  /** Enough was answered for now: `proceed` when the client has taken it. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  #run(): HandshakeAction[] {
    this.#sentBytes = 0;
    this.#isHeld = false;
    // Each step consumes what it needs, until the input or the phase ends it. A client gets many
    // answers for few bytes, so it gets them in portions.
    while (this.#step()) {
      if (this.#sentBytes < portionBytes) continue;
      this.#isHeld = true;
      break;
    }
    return this.#take();
  }

  /** False when more input is needed, or somebody else must act first. */
  #step(): boolean {
    const state = this.#state;
    switch (state.phase) {
      case 'client_flags':
        return this.#clientFlags();
      case 'option_header':
        return this.#optionHeader();
      case 'option_data': {
        const data = this.#next(state.length);
        if (!data) return false;
        this.#option(state.option, data);
        return true;
      }
      case 'skipping':
        return this.#skip(state.option, state.remaining);
      case 'securing':
      case 'opening':
      case 'transmission':
      case 'closed':
        return false;
    }
  }

  #clientFlags(): boolean {
    const bytes = this.#next(clientFlagsBytes);
    if (!bytes) return false;
    const flags = viewOf(bytes).getUint32(0);
    if ((flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) !== 0) {
      this.#destroy();
      return false;
    }
    this.#isFixed = (flags & NBD_FLAG_C_FIXED_NEWSTYLE) !== 0;
    this.#isPadded = (flags & NBD_FLAG_C_NO_ZEROES) === 0;
    this.#move({ phase: 'option_header' });
    return true;
  }

  #optionHeader(): boolean {
    const bytes = this.#next(optionHeaderBytes);
    if (!bytes) return false;
    const header = decodeOptionHeader(bytes);
    if (!header || (!this.#isFixed && header.option !== NBD_OPT_EXPORT_NAME)) {
      this.#destroy();
      return false;
    }
    const { option, length } = header;
    if (length <= optionDataBytesMax) this.#move({ phase: 'option_data', option, length });
    else if (length <= optionDataBytesSkippedMax && option !== NBD_OPT_EXPORT_NAME) {
      this.#move({ phase: 'skipping', option, remaining: length });
    } else {
      this.#destroy();
      return false;
    }
    return true;
  }

  #skip(option: number, remaining: number): boolean {
    const count = Math.min(remaining, this.#end - this.#start);
    if (count === 0) return false;
    this.#start += count;
    if (count < remaining) {
      this.#move({ phase: 'skipping', option, remaining: remaining - count });
      return false;
    }
    this.#option(option, undefined);
    return true;
  }

  /** `data` is `undefined` when there was too much of it. */
  #option(option: number, data: Uint8Array | undefined): void {
    if (option === NBD_OPT_ABORT) {
      this.#send(encodeAck(option));
      this.#move({ phase: 'closed' });
      this.#actions.push({ kind: 'close' });
      return;
    }
    const barrier = this.#barrier(option) ?? (data ? undefined : tooMuchData);
    if (barrier || !data) {
      if (option === NBD_OPT_EXPORT_NAME) {
        this.#destroy();
        return;
      }
      const { type, text } = barrier ?? tooMuchData;
      this.#send(encodeOptionError(option, type, text));
      this.#move({ phase: 'option_header' });
      return;
    }
    const answer = answerOption(option, data, {
      directory: this.#directory,
      negotiated: this.#negotiated,
      tlsMode: this.#tlsMode,
      isSecure: this.#isSecure,
    });
    this.#negotiated = answer.negotiated;
    for (const bytes of answer.replies) this.#send(bytes);
    switch (answer.next) {
      case 'continue':
        this.#move({ phase: 'option_header' });
        return;
      case 'destroy':
        this.#destroy();
        return;
      case 'secure':
        // Bytes behind STARTTLS came in the open and would be taken for what TLS protected.
        if (this.#start !== this.#end) {
          this.#actions = [];
          this.#destroy();
          return;
        }
        this.#move({ phase: 'securing' });
        this.#actions.push({ kind: 'secure' });
        return;
      case 'open':
        this.#move({
          phase: 'opening',
          option,
          exportName: answer.exportName,
          information: answer.information,
        });
        this.#actions.push({ kind: 'open', exportName: answer.exportName });
        return;
    }
  }

  /** What stands before every option. */
  #barrier(option: number): Refusal | undefined {
    if (this.#isShuttingDown) {
      return { type: NBD_REP_ERR_SHUTDOWN, text: 'the server is shutting down' };
    }
    if (this.#tlsMode === 'require' && !this.#isSecure && option !== NBD_OPT_STARTTLS) {
      return { type: NBD_REP_ERR_TLS_REQD, text: 'this server requires TLS: send STARTTLS first' };
    }
    return undefined;
  }
}
