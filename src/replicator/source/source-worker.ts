import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import type { WorkerPort } from '../../platform/worker-port.ts';
import { BatchBuffers } from './batch-buffers.ts';
import { ForwardedRequests, sendProblem } from './forwarded-requests.ts';
import { decodeHashRange, hashRouteOf } from '../protocol/hash-wire.ts';
import { checkCertificate } from '../peers/peer-rights.ts';
import { SourceAcknowledgements, type ToldByRead } from './source-acknowledgements.ts';
import { ColdReads } from './source-files.ts';
import { SourceGroup } from './source-group.ts';
import type { FromSource, SourceListenOptions, ToSource } from './source-messages.ts';
import { SourceRead } from './source-read.ts';
import type { SourceReader } from './source-reader.ts';
import { refusalOf } from './source-refusal.ts';
import { SourceStream } from './source-stream.ts';
import type {
  Answer,
  IncomingRequest,
  Transport,
  TransportListenOptions,
  TransportServer,
} from '../transport/transport.ts';
import { decodeCaller, decodeJournalRead, routeOf } from '../protocol/wire.ts';

/** Memory for answers on their way, to all followers together; taken only as far as answers are under way at once. */
const buffersMax = 8;
/** An answer costs its follower 1.6 ms beside what its bytes cost: a sixth of the time at half this size. */
const bufferBytes = 4 * MiB;
/** Of one follower, waiting ones included. */
const readsMax = 64;

function isStream(method: string, path: string): boolean {
  return routeOf(method, path)?.kind === 'stream';
}

export interface SourceWorkerDependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly rightsOf?: TransportListenOptions['rightsOf'];
}

/**
 * Serves followers, off the thread that serves hosts: owns the port that other systems reach this one
 * by, answers journal reads from the segment files alone, and forwards whatever else is asked there.
 * What it knows comes as messages; it touches nothing that the main thread writes.
 */
export class SourceWorker {
  readonly #deps: SourceWorkerDependencies;
  readonly #port: WorkerPort<FromSource, ToSource>;
  readonly #groups = new Map<string, SourceGroup>();
  /** Ids of groups that are closed for a while. */
  readonly #opening = new Set<string>();
  readonly #buffers = new BatchBuffers(buffersMax, bufferBytes);
  readonly #cold = new ColdReads();
  readonly #forwarded: ForwardedRequests;
  readonly #acknowledgements: SourceAcknowledgements;
  #server: TransportServer | undefined;
  /** Whether whoever reaches the port may read. */
  #isOpenToAll = false;

  constructor(deps: SourceWorkerDependencies, port: WorkerPort<FromSource, ToSource>) {
    this.#deps = deps;
    this.#port = port;
    const post = (message: FromSource): void => port.post(message);
    this.#forwarded = new ForwardedRequests(post);
    this.#acknowledgements = new SourceAcknowledgements(deps.clock, post);
    port.receive((message) => this.#handle(message));
  }

  #handle(message: ToSource): void {
    switch (message.kind) {
      case 'listen':
        void this.#listen(message.options);
        return;
      case 'group':
        this.#group(message);
        return;
      case 'group_gone':
        this.#groups.get(message.groupId)?.close();
        this.#groups.delete(message.groupId);
        if (message.isOpening) this.#opening.add(message.groupId);
        else this.#opening.delete(message.groupId);
        return;
      case 'progress':
        this.#groups.get(message.groupId)?.advance(message.progress);
        return;
      case 'appended':
        this.#groups.get(message.groupId)?.appended(message);
        return;
      case 'answer':
        this.#forwarded.answered(message);
        return;
      case 'stop':
        void this.#stop(message.milliseconds);
    }
  }

  async #listen(options: SourceListenOptions): Promise<void> {
    const { transport, rightsOf } = this.#deps;
    this.#isOpenToAll = options.cleartext === 'anywhere';
    const refused = (peer: string, why: string): void =>
      this.#port.post({ kind: 'refused', peer, why });
    const all = { ...options, refused, isStream, ...(rightsOf ? { rightsOf } : {}) };
    try {
      this.#server = await transport.listen(all, (request, answer) =>
        this.#request(request, answer),
      );
      const { host, port } = this.#server.address;
      this.#port.post({ kind: 'listening', host, port });
    } catch (error) {
      const code = error instanceof JnbdError ? error.code : 'internal';
      this.#port.post({ kind: 'listen_failed', code, message: messageOf(error) });
    }
  }

  async #stop(milliseconds: number): Promise<void> {
    for (const group of this.#groups.values()) group.stop();
    await this.#server?.close(milliseconds);
    this.#port.post({ kind: 'stopped' });
  }

  #group({ picture, durable }: ToSource & { readonly kind: 'group' }): void {
    const { groupId } = picture;
    this.#opening.delete(groupId);
    const known = this.#groups.get(groupId);
    if (known) {
      known.change(picture);
      return;
    }
    const deps = { ...this.#deps, cold: this.#cold, buffers: this.#buffers };
    const post = (message: FromSource): void => this.#port.post(message);
    this.#groups.set(groupId, new SourceGroup(deps, picture, durable, post));
  }

  #request(request: IncomingRequest, answer: Answer): void {
    const { method, path } = request;
    const route = routeOf(method, path);
    const hashRoute = hashRouteOf(method, path);
    try {
      if (hashRoute) this.#hashes(hashRoute.groupId, hashRoute.volume, request, answer);
      else if (route?.kind === 'journal') this.#read(route.groupId, request, answer);
      else if (route?.kind === 'stream') this.#stream(route.groupId, request, answer);
      else this.#forwarded.forward(request, answer);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      sendProblem(answer, error);
    }
  }

  #hashes(groupId: string, volume: number, request: IncomingRequest, answer: Answer): void {
    const range = decodeHashRange(request.headers);
    this.#reader(groupId, request).group.hashes.answer(volume, range, answer);
  }

  #read(groupId: string, request: IncomingRequest, answer: Answer): void {
    const read = decodeJournalRead(request.headers);
    const { group, reader } = this.#reader(groupId, request);
    if (reader.reads >= readsMax) {
      const text = `system ${reader.systemId} has ${readsMax} reads of group ${group.journal.picture.name} under way; answer them first`;
      throw new JnbdError('memory_exhausted', text);
    }
    const refusal = refusalOf(group.journal, reader.systemId, read);
    // What it has of another history is no acknowledgement of this one.
    if (refusal?.error.code !== 'diverged') this.#acknowledgements.note(groupId, reader, read);
    if (group.isOld) group.refresh();
    reader.reads += 1;
    const ended = (): void => {
      reader.reads -= 1;
    };
    new SourceRead(group, reader, read, answer).run().then(ended, (error: unknown) => {
      throw error;
    });
  }

  #stream(groupId: string, request: IncomingRequest, answer: Answer): void {
    const read = decodeJournalRead(request.headers);
    const { group, reader } = this.#reader(groupId, request);
    const { stream, peer } = request;
    if (!stream)
      throw new JnbdError('protocol_violated', 'a stream is asked for over HTTP/2 alone');
    const refused = (why: string): void => this.#port.post({ kind: 'refused', peer, why });
    const acknowledged = (told: ToldByRead): void =>
      this.#acknowledgements.note(groupId, reader, told, true);
    new SourceStream(group, reader, read, answer, { acknowledged, refused }).begin(stream);
  }

  /** Who asks, where it may. The registration is its admission; nobody reads in the name of another. */
  #reader(
    groupId: string,
    { headers, identity }: IncomingRequest,
  ): { readonly group: SourceGroup; readonly reader: SourceReader } {
    const { systemId, name } = decodeCaller(headers);
    const group = this.#groups.get(groupId);
    if (this.#opening.has(groupId)) {
      throw new JnbdError('group_opening', `group ${groupId} is being opened again; try again`);
    }
    if (!group) {
      throw new JnbdError('group_not_found', `there is no group ${groupId} on this system`);
    }
    const { picture } = group.journal;
    checkCertificate(identity, name, picture.name, 'read', this.#isOpenToAll);
    const reader = group.reader(systemId);
    const registered = picture.followers.find((follower) => follower.systemId === systemId);
    if (reader && registered?.name === name) return { group, reader };
    throw new JnbdError(
      'follower_not_found',
      `system ${name} does not follow group ${picture.name} here; it has to register first`,
    );
  }
}
