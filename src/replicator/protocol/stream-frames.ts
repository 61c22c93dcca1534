/**
 * What source and follower tell each other on a stream, beside records: PROTOCOL.md has the bytes.
 * Each is a frame of its own; all integers are little endian.
 */
import { assert } from '../../platform/assert.ts';
import { updateNumberMax } from '../../platform/limits.ts';
import { frameHeaderBytes, frameMagic } from './frames.ts';
import type { WireWatermarks } from './wire.ts';

export const signalKind = {
  /** To the follower: how far the source is, and what it has heard. */
  watermarks: 5,
  /** Both ways: who has the group, and whom it comes through. */
  members: 6,
  /** To the source: how far the follower is. */
  acknowledgement: 7,
  /** To the source: what the follower found where checksums were compared. */
  checksums: 8,
} as const;
export type SignalKind = (typeof signalKind)[keyof typeof signalKind];

export const watermarksFrameBytes = 64;
export const acknowledgementFrameBytes = 18;
/** Two lengths; the texts follow. */
export const membersFrameBytesMin = 4;
export const membersFrameBytesMax = 8 * 1024;
export const checksumsFrameBytesMax = 512;

/** How far a source is, as the head of a journal answer says it, with what a stream needs beside. */
export interface StreamWatermarks extends WireWatermarks {
  readonly usedBytes: number;
  readonly capacityBytes: number;
  readonly timeMilliseconds: number;
  readonly unsentBytes: number;
  readonly oldestUnsentMilliseconds: number;
  /** Serial of the follower's newest acknowledgement that counts at the source; 0: none. */
  readonly heard: number;
  /** How long replies to hosts wait for a follower that is silent; 0: they never wait for this one. */
  readonly timeoutMilliseconds: number;
}

export interface StreamAcknowledgement {
  /** Rises with each one. */
  readonly serial: number;
  readonly received: number;
  readonly applied: number;
}

/** As the headers of these names have them, or empty; the follower says no path. */
export interface StreamMembersText {
  readonly members: string;
  readonly path: string;
}

/** Where such frames go; those without a method may not come. */
export interface SignalReceiver {
  readonly watermarks?: (told: StreamWatermarks) => void;
  readonly members?: (told: StreamMembersText) => void;
  readonly acknowledgement?: (told: StreamAcknowledgement) => void;
  /** As the header `jnbd-checksums` of a read has them. */
  readonly checksums?: (text: string) => void;
}

const two32 = 2 ** 32;

function setWhole48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint16(at + 4, value / two32, true);
}

function whole48(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint16(at + 4, true) * two32;
}

function encodeHeader(view: DataView, at: number, kind: SignalKind, bytes: number): number {
  view.setUint32(at, frameMagic, true);
  view.setUint32(at + 4, kind, true);
  view.setUint32(at + 8, bytes, true);
  return at + frameHeaderBytes;
}

/** Returns where the next frame begins. */
export function encodeWatermarks(view: DataView, start: number, told: StreamWatermarks): number {
  const at = encodeHeader(view, start, signalKind.watermarks, watermarksFrameBytes);
  setWhole48(view, at, told.released);
  setWhole48(view, at + 6, told.applied);
  setWhole48(view, at + 12, told.durable);
  setWhole48(view, at + 18, told.newest);
  setWhole48(view, at + 24, bounded(told.usedBytes));
  setWhole48(view, at + 30, bounded(told.capacityBytes));
  setWhole48(view, at + 36, bounded(told.timeMilliseconds));
  setWhole48(view, at + 42, bounded(told.unsentBytes));
  setWhole48(view, at + 48, bounded(told.oldestUnsentMilliseconds));
  setWhole48(view, at + 54, told.heard);
  view.setUint32(at + 60, Math.min(told.timeoutMilliseconds, 0xffff_ffff), true);
  return at + watermarksFrameBytes;
}

/** Of the bytes behind the frame's header. Undefined: they do not rise. */
export function decodeWatermarks(view: DataView, at: number): StreamWatermarks | undefined {
  const released = whole48(view, at);
  const applied = whole48(view, at + 6);
  const durable = whole48(view, at + 12);
  const newest = whole48(view, at + 18);
  if (released > applied || applied > durable || durable > newest) return undefined;
  return {
    released,
    applied,
    durable,
    newest,
    usedBytes: whole48(view, at + 24),
    capacityBytes: whole48(view, at + 30),
    timeMilliseconds: whole48(view, at + 36),
    unsentBytes: whole48(view, at + 42),
    oldestUnsentMilliseconds: whole48(view, at + 48),
    heard: whole48(view, at + 54),
    timeoutMilliseconds: view.getUint32(at + 60, true),
  };
}

/** Returns where the next frame begins. */
export function encodeAcknowledgement(
  view: DataView,
  start: number,
  { serial, received, applied }: StreamAcknowledgement,
): number {
  const at = encodeHeader(view, start, signalKind.acknowledgement, acknowledgementFrameBytes);
  setWhole48(view, at, serial);
  setWhole48(view, at + 6, received);
  setWhole48(view, at + 12, applied);
  return at + acknowledgementFrameBytes;
}

/** Of the bytes behind the frame's header. Undefined: more is applied than is received. */
export function decodeAcknowledgement(
  view: DataView,
  at: number,
): StreamAcknowledgement | undefined {
  const told = {
    serial: whole48(view, at),
    received: whole48(view, at + 6),
    applied: whole48(view, at + 12),
  };
  return told.applied > told.received ? undefined : told;
}

/** A whole frame. */
export function encodeMembersText({ members, path }: StreamMembersText): Buffer {
  const textBytes = members.length + path.length;
  const bytes = Buffer.alloc(frameHeaderBytes + membersFrameBytesMin + textBytes);
  assert(
    membersFrameBytesMin + textBytes <= membersFrameBytesMax,
    `${textBytes} bytes of members fit one frame`,
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = encodeHeader(view, 0, signalKind.members, membersFrameBytesMin + textBytes);
  view.setUint16(at, members.length, true);
  view.setUint16(at + 2, path.length, true);
  bytes.write(members + path, at + membersFrameBytesMin, 'latin1');
  return bytes;
}

/** Of the `length` bytes behind the frame's header. Undefined: they are not as long as they say. */
export function decodeMembersText(
  view: DataView,
  at: number,
  length: number,
): StreamMembersText | undefined {
  const membersBytes = view.getUint16(at, true);
  const pathBytes = view.getUint16(at + 2, true);
  if (membersFrameBytesMin + membersBytes + pathBytes !== length) return undefined;
  const textBytes = length - membersFrameBytesMin;
  const bytes = Buffer.from(view.buffer, view.byteOffset + at + membersFrameBytesMin, textBytes);
  return {
    members: bytes.toString('latin1', 0, membersBytes),
    path: bytes.toString('latin1', membersBytes),
  };
}

/** A whole frame. */
export function encodeChecksumsText(text: string): Buffer {
  assert(text.length <= checksumsFrameBytesMax, `${text.length} bytes of checksums fit one frame`);
  const bytes = Buffer.alloc(frameHeaderBytes + text.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  bytes.write(text, encodeHeader(view, 0, signalKind.checksums, text.length), 'latin1');
  return bytes;
}

/** Of the `length` bytes behind the frame's header. */
export function decodeChecksumsText(view: DataView, at: number, length: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, length).toString('latin1');
}

/** So much fits 48 bits; nothing that is measured comes near it. */
function bounded(value: number): number {
  return Math.min(Math.max(0, Math.floor(value)), updateNumberMax);
}
