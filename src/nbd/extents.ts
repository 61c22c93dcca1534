import type { ExtentList } from '../group/apply/export.ts';

/** More are not reported in one answer; the client asks again behind the last. */
export const extentsMax = 1024;

export function createExtentList(capacity: number): ExtentList {
  return { count: 0, lengths: new Float64Array(capacity), states: new Uint8Array(capacity) };
}
