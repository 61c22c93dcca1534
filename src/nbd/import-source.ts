import type { BlockSource } from '../group/volumes/import.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { GiB } from '../platform/limits.ts';
import { type ClientExtent, NbdClient } from './client.ts';
import { isNbdUri } from './uri.ts';

/** Extents are asked for this far ahead; a length has 32 bits in the older forms of the protocol. */
const lookBytes = GiB;
/** A server that is connected to and stays silent is given up. */
const connectMillisecondsMax = 15_000;

/**
 * An export of another server as the contents of a volume. Undefined: the text is no NBD URI. Throws
 * JnbdError (argument_invalid, certificate_invalid, export_not_found, source_unreadable).
 */
export function openNbdSource(uri: string): Promise<BlockSource> | undefined {
  return isNbdUri(uri) ? connect(uri) : undefined;
}

async function connect(uri: string): Promise<BlockSource> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const text = `cannot read ${uri}: no answer within ${connectMillisecondsMax / 1000} s`;
    const late = (): void => reject(new JnbdError('source_unreadable', text));
    timer = setTimeout(late, connectMillisecondsMax);
  });
  const connecting = NbdClient.connectUri(uri);
  try {
    return new NbdSource(uri, await Promise.race([connecting, silence]));
  } catch (error) {
    // It may still answer, when nobody listens any more.
    connecting.then((client) => client.destroy()).catch(() => undefined);
    throw explained(uri, error);
  } finally {
    clearTimeout(timer);
  }
}

class NbdSource implements BlockSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #client: NbdClient;
  readonly #hasExtents: boolean;
  #extents: readonly ClientExtent[] = [];

  constructor(name: string, client: NbdClient) {
    this.name = name;
    this.sizeBytes = client.sizeBytes;
    this.#client = client;
    this.#hasExtents = client.metaContexts.size > 0;
  }

  async nextData(position: number): Promise<{ start: number; end: number } | undefined> {
    if (!this.#hasExtents) {
      return position < this.sizeBytes ? { start: position, end: this.sizeBytes } : undefined;
    }
    for (let at = position; at < this.sizeBytes; ) {
      const extent = await this.#extentAt(at);
      const end = Math.min(this.sizeBytes, extent.offset + extent.length);
      if (!extent.isZero) return { start: at, end };
      at = end;
    }
    return undefined;
  }

  async #extentAt(position: number): Promise<ClientExtent> {
    const holds = (extent: ClientExtent): boolean =>
      extent.offset <= position && position < extent.offset + extent.length;
    const known = this.#extents.find(holds);
    if (known) return known;
    const length = Math.min(lookBytes, this.sizeBytes - position);
    try {
      this.#extents = await this.#client.blockStatus(position, length);
    } catch (error) {
      throw explained(this.name, error);
    }
    const found = this.#extents.find(holds);
    if (found) return found;
    throw new JnbdError('source_unreadable', `${this.name} tells nothing of byte ${position}`);
  }

  async read(bytes: Buffer, start: number, length: number, position: number): Promise<void> {
    try {
      (await this.#client.read(position, length)).copy(bytes, start);
    } catch (error) {
      throw explained(this.name, error);
    }
  }

  abort(): void {
    this.#client.destroy();
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

/** The server that is not reached is the other one, not ours. */
function explained(uri: string, error: unknown): unknown {
  if (error instanceof JnbdError && error.code !== 'daemon_unreachable') return error;
  return new JnbdError('source_unreadable', `cannot read ${uri}: ${messageOf(error)}`, {
    cause: error,
  });
}
