import type { BatchBuffer } from './batch-buffers.ts';
import { encodeEnd, encodeStretch } from '../protocol/frame-encoder.ts';
import { endFrameBytes, frameHeaderBytes, stretchFrameBytes } from '../protocol/frames.ts';
import { encodeWatermarks, type StreamWatermarks } from '../protocol/stream-frames.ts';
import type { Stretch } from '../protocol/wire.ts';

const endBytes = frameHeaderBytes + endFrameBytes;

/** The body of one answer while it is put together: frames one behind the other. */
export class SourceBatch {
  readonly buffer: BatchBuffer;
  readonly #bytesMax: number;
  #bytes = 0;
  #reservedBytes = 0;
  #frames = 0;

  /** `bytesMax`: of all frames; at most what the buffer has. */
  constructor(buffer: BatchBuffer, bytesMax: number) {
    this.buffer = buffer;
    this.#bytesMax = Math.min(bytesMax, buffer.bytes.length);
  }

  /** Where the next frame goes. */
  get end(): number {
    return this.#bytes;
  }

  get frames(): number {
    return this.#frames;
  }

  /** For the next frame, the end frame kept in mind. */
  get room(): number {
    return Math.max(0, this.#bytesMax - endBytes - this.#reservedBytes - this.#bytes);
  }

  /** So much is left for frames of another kind. */
  reserve(bytes: number): void {
    this.#reservedBytes = bytes;
  }

  /** The same for a single record, which may be more than the follower asked for. */
  get roomOfBuffer(): number {
    return this.buffer.bytes.length - endBytes - this.#bytes;
  }

  /** A frame of so many bytes was written at `end`. */
  added(frameBytes: number): void {
    this.#bytes += frameBytes;
    this.#frames += 1;
  }

  static readonly stretchBytes = frameHeaderBytes + stretchFrameBytes;

  addWatermarks(told: StreamWatermarks): void {
    this.added(encodeWatermarks(this.buffer.view, this.#bytes, told) - this.#bytes);
  }

  /** False: there is no room for it. */
  addFrame(frame: Uint8Array): boolean {
    if (frame.length > this.room) return false;
    this.buffer.bytes.set(frame, this.#bytes);
    this.added(frame.length);
    return true;
  }

  addStretch(stretch: Stretch): void {
    this.added(encodeStretch(this.buffer.view, this.#bytes, stretch) - this.#bytes);
  }

  /** The frames so far. */
  get content(): Uint8Array {
    return this.buffer.bytes.subarray(0, this.#bytes);
  }

  /** The whole body. */
  finish(): Uint8Array {
    const end = encodeEnd(this.buffer.view, this.#bytes, this.#frames);
    return this.buffer.bytes.subarray(0, end);
  }
}
