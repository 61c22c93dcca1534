import type { Clock } from '../platform/clock.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { MiB } from '../platform/limits.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import { BatchBuffers } from './batch-buffers.ts';
import { ForwardedRequests, sendProblem } from './forwarded-requests.ts';
import { SourceAcknowledgements } from './source-acknowledgements.ts';
import { ColdReads } from './source-files.ts';
import { SourceGroup } from './source-group.ts';
import type { FromSource, SourceListenOptions, ToSource } from './source-messages.ts';
import { SourceRead } from './source-read.ts';
import type {
  Answer,
  IncomingRequest,
  PeerIdentity,
  Transport,
  TransportListenOptions,
  TransportServer,
} from './transport.ts';
import { decodeCaller, decodeJournalRead, routeOf } from './wire.ts';

/** Memory for answers on their way, to all followers together. */
const buffersMax = 8;
const bufferBytes = 2 * MiB;
/** Of one follower, waiting ones included. */
const readsMax = 64;

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
        return;
      case 'progress':
        this.#groups.get(message.groupId)?.advance(message.progress);
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
    const all = { ...options, refused, ...(rightsOf ? { rightsOf } : {}) };
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
    const route = routeOf(request.method, request.path);
    if (route?.kind !== 'journal') {
      this.#forwarded.forward(request, answer);
      return;
    }
    try {
      this.#read(route.groupId, request, answer);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      sendProblem(answer, error);
    }
  }

  #read(groupId: string, { headers, identity, peer }: IncomingRequest, answer: Answer): void {
    const { systemId, name } = decodeCaller(headers);
    const read = decodeJournalRead(headers);
    const group = this.#groups.get(groupId);
    if (!group) {
      throw new JnbdError('group_not_found', `there is no group ${groupId} on this system`);
    }
    const { picture } = group.journal;
    this.#checkRights(identity, name, picture.name, peer);
    const reader = group.reader(systemId);
    if (!reader) {
      throw new JnbdError(
        'follower_not_found',
        `system ${name} does not follow group ${picture.name} here; it has to register first`,
      );
    }
    if (reader.reads >= readsMax) {
      const text = `follower ${name} of group ${picture.name} has ${readsMax} reads under way; answer them first`;
      throw new JnbdError('memory_exhausted', text);
    }
    this.#acknowledgements.note(groupId, reader, read);
    if (group.isOld) group.refresh();
    reader.reads += 1;
    const ended = (): void => {
      reader.reads -= 1;
    };
    new SourceRead(group, reader, read, answer).run().then(ended, (error: unknown) => {
      throw error;
    });
  }

  /** The registration is the follower's admission; what is asked here is whether it may read at all. */
  #checkRights(identity: PeerIdentity, system: string, group: string, peer: string): void {
    if (identity.kind === 'loopback') return;
    if (identity.kind === 'certificate') {
      const { rights, certificate } = identity;
      const isItsOwn = rights.system === system;
      if (isItsOwn && (rights.groups === 'all' || rights.groups.includes(group))) return;
      const what = isItsOwn ? `to read group ${group}` : `system ${system} to use it`;
      const text = `certificate ${certificate.subject} does not allow ${what}; issue one that does`;
      throw new JnbdError('follower_not_allowed', text);
    }
    if (this.#isOpenToAll) return;
    const text = `${peer} showed no certificate: group ${group} is read by followers that have one`;
    throw new JnbdError('follower_not_allowed', text);
  }
}
