import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { KiB } from '../../platform/limits.ts';
import { unitHashBytes, unitsIn } from '../../volume/unit-hashes.ts';
import { type Caller, encodeCaller } from '../protocol/wire.ts';
import { parseJson, readProblem } from '../protocol/wire-json.ts';
import {
  begunSchema,
  checksSchema,
  encodeViewRange,
  type ToldChecks,
  verifyPaths,
} from '../protocol/wire-verify.ts';
import type { TransportClient, TransportRequest } from '../transport/transport.ts';
import { wholeAnswer } from '../transport/whole-answer.ts';

/** Another system that has the group. */
export interface PeerPlace {
  readonly systemId: number;
  readonly name: string;
  readonly url: string;
}

export interface PeerDependencies {
  readonly clock: Clock;
  readonly caller: Caller;
  readonly connect: (url: string) => TransportClient;
  /** Between two attempts: whether to go on. */
  readonly isWanted: () => boolean;
}

const limits = { headMilliseconds: 60_000, silenceMilliseconds: 20_000 };
/** It reads all that its journal retains first. */
const checkLimits = { headMilliseconds: 3_600_000, silenceMilliseconds: 20_000 };
const rangeBytesMin = 256 * KiB;
const attemptsMax = 10;
const attemptMilliseconds = 1000;

/** Another system that a group is compared with, as who asks. Everything rejects with JnbdError. */
export class VerifyPeer {
  readonly name: string;
  readonly #groupId: string;
  readonly #deps: PeerDependencies;
  readonly #client: TransportClient;
  /** One that reads slowly is asked for less at once. */
  #rangeBytes = Number.POSITIVE_INFINITY;

  constructor(groupId: string, { name, url }: PeerPlace, deps: PeerDependencies) {
    this.name = name;
    this.#groupId = groupId;
    this.#deps = deps;
    this.#client = deps.connect(url);
  }

  /** Of the snapshot that was made, or is about to come there from where it was made. */
  async begin(): Promise<number> {
    const { body } = await this.#ask('POST', verifyPaths.begin(this.#groupId), {});
    return parseJson(begunSchema, body, 'the answer to a verification').number;
  }

  async renew(number: number): Promise<void> {
    await this.#ask('POST', verifyPaths.one(this.#groupId, number), {});
  }

  async end(number: number): Promise<void> {
    await this.#ask('DELETE', verifyPaths.one(this.#groupId, number), {});
  }

  async checks(): Promise<ToldChecks> {
    const path = verifyPaths.checks(this.#groupId);
    const { body } = await this.#ask('GET', path, {}, checkLimits);
    return parseJson(checksSchema, body, 'what is damaged there');
  }

  /** Of [offset, offset + length) of the volume as the snapshot has it. */
  async hashes(
    number: number,
    volume: number,
    offset: number,
    length: number,
    unitBytes: number,
  ): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    const path = verifyPaths.view(this.#groupId, number, volume, 'hashes');
    for (let at = offset; at < offset + length; ) {
      const asked = Math.min(this.#rangeBytes, offset + length - at);
      const headers = encodeViewRange({ offset: at, length: asked }, unitBytes);
      try {
        const { body } = await this.#askPatiently('GET', path, headers);
        this.#expect(body, unitsIn(asked, unitBytes) * unitHashBytes);
        parts.push(body);
        at += asked;
      } catch (error) {
        const isSlow = error instanceof JnbdError && error.code === 'peer_silent';
        if (!isSlow || asked <= rangeBytesMin || !this.#deps.isWanted()) throw error;
        this.#rangeBytes = Math.max(rangeBytesMin, asked / 4 - ((asked / 4) % rangeBytesMin));
      }
    }
    return Buffer.concat(parts);
  }

  async contents(
    number: number,
    volume: number,
    offset: number,
    length: number,
  ): Promise<Uint8Array> {
    const path = verifyPaths.view(this.#groupId, number, volume, 'contents');
    const headers = encodeViewRange({ offset, length });
    const { body } = await this.#askPatiently('GET', path, headers);
    this.#expect(body, length);
    return body;
  }

  close(): void {
    this.#client.close();
  }

  #expect({ length }: Uint8Array, expected: number): void {
    if (length === expected) return;
    const text = `${length} bytes came from system ${this.name}, not ${expected}`;
    throw new JnbdError('protocol_violated', text);
  }

  async #askPatiently(
    method: TransportRequest['method'],
    path: string,
    headers: TransportRequest['headers'],
  ): Promise<{ readonly body: Uint8Array }> {
    const { clock, isWanted } = this.#deps;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#ask(method, path, headers);
      } catch (error) {
        const isRetryable =
          error instanceof JnbdError && error.kind === 'retryable' && error.code !== 'peer_silent';
        if (!isRetryable || attempt >= attemptsMax || !isWanted()) throw error;
        await new Promise<void>((resolve) => clock.after(attemptMilliseconds, resolve));
      }
    }
  }

  async #ask(
    method: TransportRequest['method'],
    path: string,
    headers: TransportRequest['headers'],
    within = limits,
  ): Promise<{ readonly body: Uint8Array }> {
    const all = { ...encodeCaller(this.#deps.caller), ...headers };
    const { status, body } = await wholeAnswer(
      this.#client,
      { method, path, headers: all },
      within,
    );
    if (status >= 400) throw readProblem(status, body).error;
    return { body };
  }
}
