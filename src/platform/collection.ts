import { setFlagsFromString } from 'node:v8';

/**
 * How much a heap may grow before all of it is collected, in per cent of what it held last time.
 *
 * What arrives over HTTP/2 comes in buffers of 64 KiB outside the heap, which count as if they were in it.
 * With V8's own rule a heap of 20 MiB is marked again after every 13 MiB received, and that took more
 * processor time than all the rest of receiving. Short-lived buffers go with the young generation anyway.
 * It costs some 25 MiB, so only a system that receives pays for it.
 */
const heapGrowingPercent = 400;

/** For all threads of this process, from now on. */
export function collectLessOften(): void {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`);
}

/**
 * The young generation of every thread of this process stays as large as it is now: 2 MiB of a thread that
 * has just begun. It doubles otherwise whenever as much survived as it holds, which modules do as they are
 * loaded, and gives nothing back: up to 32 MiB a thread with Node 20, 128 MiB with Node 24. The thread that
 * serves hosts leaves some hundred bytes for each request, so it gains nothing by that.
 *
 * Its greatest size is settled when a thread begins; how it grows is not. Each new thread sets that back to
 * V8's own rule for all of them, so it calls this too.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
