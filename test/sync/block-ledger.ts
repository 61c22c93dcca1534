/** Each block of a volume is written by one worker, in versions that only go up. */
export const blockBytes = 4096;

/**
 * What hosts know of each block: which version they sent, which was acknowledged, and which they read. What
 * was acknowledged or read has to be there for ever, or a newer one that was sent.
 */
export class BlockLedger {
  readonly blocks: number;
  readonly #sent: Uint32Array;
  readonly #owed: Uint32Array;
  acknowledged = 0;
  read = 0;

  constructor(blocks: number) {
    this.blocks = blocks;
    this.#sent = new Uint32Array(blocks);
    this.#owed = new Uint32Array(blocks);
  }

  /** Makes the next version of a block. */
  send(block: number): { readonly version: number; readonly payload: Buffer } {
    const version = (this.#sent[block] ?? 0) + 1;
    this.#sent[block] = version;
    return { version, payload: contentsOf(block, version) };
  }

  acknowledge(block: number, version: number): void {
    this.acknowledged += 1;
    this.#owe(block, version);
  }

  /** The least version that a read which is sent now may show. */
  owedOf(block: number): number {
    return this.#owed[block] ?? 0;
  }

  /** A host was shown this. What is wrong with it, if something is. */
  showed(block: number, bytes: Buffer, least: number): string | undefined {
    this.read += 1;
    const version = versionOf(block, bytes);
    if (version === undefined) return `block ${block} holds what nobody wrote there`;
    const sent = this.#sent[block] ?? 0;
    if (version < least || version > sent) {
      return `block ${block} is as of version ${version}: ${least} was acknowledged or read before, ${sent} sent`;
    }
    this.#owe(block, version);
    return undefined;
  }

  /**
   * All contents of a volume; those that hold less than they have to, with the version that they hold. What is
   * found is owed from now on.
   */
  missing(
    contents: Buffer,
  ): { readonly block: number; readonly version: number; readonly text: string }[] {
    const missing = [];
    for (let block = 0; block < this.blocks; block += 1) {
      const bytes = contents.subarray(block * blockBytes, (block + 1) * blockBytes);
      const text = this.showed(block, bytes, this.owedOf(block));
      if (text === undefined) continue;
      const version = versionOf(block, bytes) ?? 0;
      missing.push({ block, version, text });
      this.#owed[block] = version;
    }
    return missing;
  }

  #owe(block: number, version: number): void {
    this.#owed[block] = Math.max(this.#owed[block] ?? 0, version);
  }
}

/** Block and version, again and again. */
function contentsOf(block: number, version: number): Buffer {
  const bytes = Buffer.allocUnsafe(blockBytes);
  bytes.writeUInt32LE(block, 0);
  bytes.writeUInt32LE(version, 4);
  for (let at = 8; at < blockBytes; at *= 2)
    bytes.copy(bytes, at, 0, Math.min(at, blockBytes - at));
  return bytes;
}

/** Undefined: it is no version of that block. */
export function versionOf(block: number, bytes: Buffer): number | undefined {
  const version = bytes.readUInt32LE(4);
  if (version === 0) return bytes.every((byte) => byte === 0) ? 0 : undefined;
  return contentsOf(block, version).equals(bytes) ? version : undefined;
}
