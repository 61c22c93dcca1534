import type { Group } from '../group/order/group.ts';
import type { VerificationStatus } from './schema-verify-status.ts';
import type { Verifying } from './verifying.ts';

export interface VerifyingSources {
  readonly verifying: Verifying;
}

type Told = Pick<Verifying, 'progress' | 'last'>;

export function verificationStatusOf(verifying: Told, group: Group): VerificationStatus {
  const running = verifying.progress(group);
  const last = verifying.last(group);
  return {
    running: running
      ? { comparedBytes: running.comparedBytes, totalBytes: running.totalBytes }
      : null,
    last: last
      ? {
          at: new Date(last.atMilliseconds).toISOString(),
          number: last.number,
          result: last.result,
          systems: [...last.systems],
          differingBytes: last.differingBytes,
          damages: last.damages,
        }
      : null,
  };
}

/** Something about the newest verification of a group. */
export interface VerifyMetric {
  readonly name: string;
  readonly help: string;
  readonly values: (
    group: Group,
  ) => { readonly value: number; readonly labels: Record<string, string> }[];
}

export function verifyMetrics(verifying: Told): readonly VerifyMetric[] {
  const gauge = (
    name: string,
    help: string,
    read: (last: NonNullable<ReturnType<Told['last']>>) => number,
  ): VerifyMetric => ({
    name,
    help,
    values: (group) => {
      const last = verifying.last(group);
      return last ? [{ value: read(last), labels: { group: group.name } }] : [];
    },
  });
  return [
    gauge(
      'jnbd_verified_timestamp_seconds',
      'When the newest verification of the group came to its end here.',
      ({ atMilliseconds }) => atMilliseconds / 1000,
    ),
    gauge(
      'jnbd_verified_same',
      'Whether it found that all is as it should be (1) or not (0).',
      ({ result }) => (result === 'same' ? 1 : 0),
    ),
    gauge(
      'jnbd_verified_differing_bytes',
      'How much of volumes differs between systems, by that.',
      ({ differingBytes }) => differingBytes,
    ),
    gauge(
      'jnbd_verified_damages',
      'How many damages of other files it found.',
      ({ damages }) => damages,
    ),
    {
      name: 'jnbd_verifying_bytes',
      help: 'How much a verification that is under way has compared.',
      values: (group) => {
        const running = verifying.progress(group);
        return running ? [{ value: running.comparedBytes, labels: { group: group.name } }] : [];
      },
    },
  ];
}
