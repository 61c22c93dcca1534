/**
 * /metrics. Everything is read from plain numbers when somebody asks; between two scrapes nothing is
 * counted here. Names and units are a promise: alerts are written on them.
 */
import { type Metric, type MetricValue, type MetricValueWithName, Registry } from 'prom-client';
import { refusalOf } from '../group/system/export-refusal.ts';
import type { Group } from '../group/order/group.ts';
import type { System } from '../group/system/system.ts';
import { shownVolumes, type Volume } from '../group/apply/volume.ts';
import {
  hostOperations,
  latencyBucketSeconds,
  latencyBuckets,
} from '../group/apply/volume-metrics.ts';
import { cutMetrics } from './cut-metrics.ts';
import type { Cutting } from './cutting.ts';
import { followMetrics } from './follow-metrics.ts';
import type { Following } from './following.ts';
import type { CopyClock } from './copy-clock.ts';
import type { LagClock } from './lag-clock.ts';
import type { ProcessWatch } from './process-watch.ts';
import { snapshotMetrics } from './snapshot-metrics.ts';
import { checksumMetrics } from './checksum-status.ts';
import { viewMetrics } from './view-metrics.ts';
import { verifyMetrics } from './verify-status.ts';
import type { Verifying } from './verifying.ts';
import type { ClientConnection } from './status.ts';

export interface MetricSources {
  readonly system: System;
  readonly lagClock: LagClock;
  readonly copyClock: CopyClock<Group>;
  readonly following: Pick<Following, 'upstream'>;
  readonly cutting: Pick<Cutting, 'list'>;
  readonly verifying: Pick<Verifying, 'progress' | 'last'>;
  readonly watch: ProcessWatch;
  readonly version: string;
  readonly memoryBytes: number;
  readonly connections: () => ClientConnection[];
}

type Value = MetricValue<string> | MetricValueWithName<string>;
type MetricKind = 'counter' | 'gauge' | 'histogram' | 'summary';
type Labels = Record<string, string | number>;

/** A metric whose values are made when it is read. */
class ReadMetric {
  readonly name: string;
  readonly help: string;
  readonly type: MetricKind;
  readonly #read: () => Value[];

  constructor(name: string, help: string, type: MetricKind, read: () => Value[]) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#read = read;
  }

  get() {
    const { name, help, type } = this;
    return Promise.resolve({ name, help, type, values: this.#read(), aggregator: 'sum' });
  }

  reset(): void {}
}

const watermarkNames = ['released', 'applied', 'durable', 'newest'] as const;

export class Metrics {
  readonly #sources: MetricSources;
  readonly #registry = new Registry();

  constructor(sources: MetricSources) {
    this.#sources = sources;
    this.#addVolumes();
    this.#addGroups();
    this.#addFollowing();
    this.#addProcess();
  }

  read(): Promise<string> {
    return this.#registry.metrics();
  }

  #add(name: string, help: string, type: MetricKind, read: () => Value[]): void {
    const metric = new ReadMetric(name, help, type, read);
    // The registry asks no more of a metric than this.
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  #gauge(name: string, help: string, read: () => number): void {
    this.#add(name, help, 'gauge', () => [{ value: read(), labels: {} }]);
  }

  // --- volumes

  #addVolumes(): void {
    const each = (read: (volume: Volume, labels: Labels, group: Group) => Value[]) => (): Value[] =>
      this.#volumes().flatMap(({ volume, labels, group }) => read(volume, labels, group));
    const perOperation = (kind: 'operations' | 'bytes' | 'errors') =>
      each(({ metrics }, labels) =>
        hostOperations.map((operation) => ({
          value: metrics[kind][operation],
          labels: { ...labels, operation },
        })),
      );
    this.#add(
      'jnbd_volume_operations_total',
      'Requests of hosts that were answered, errors included.',
      'counter',
      perOperation('operations'),
    );
    this.#add(
      'jnbd_volume_bytes_total',
      'Bytes that requests of hosts were about.',
      'counter',
      perOperation('bytes'),
    );
    this.#add(
      'jnbd_volume_errors_total',
      'Requests of hosts that were answered with an error.',
      'counter',
      perOperation('errors'),
    );
    this.#add(
      'jnbd_volume_latency_seconds',
      'Time from a request to its answer.',
      'histogram',
      each(latencyValues),
    );
    this.#add(
      'jnbd_volume_size_bytes',
      'Size of the volume as hosts see it.',
      'gauge',
      each(({ catalog }, labels) => [{ value: catalog.sizeBytes, labels }]),
    );
    this.#add(
      'jnbd_volume_normal',
      'Whether the volume takes reads and writes (1) or not (0).',
      'gauge',
      each((volume, labels, group) => [{ value: refusalOf(group, volume) ? 0 : 1, labels }]),
    );
  }

  #volumes(): { volume: Volume; labels: Labels; group: Group }[] {
    return [...this.#sources.system.groups.values()].flatMap((group) =>
      shownVolumes(group.volumes).map((volume) => ({
        volume,
        group,
        labels: { group: group.name, volume: volume.catalog.name },
      })),
    );
  }

  // --- groups

  #addGroups(): void {
    const { lagClock } = this.#sources;
    const gauge = (name: string, help: string, read: (group: Group) => number): void => {
      this.#add(name, help, 'gauge', () =>
        [...this.#sources.system.groups.values()].map((group) => ({
          value: read(group),
          labels: { group: group.name },
        })),
      );
    };
    gauge('jnbd_group_normal', 'Whether the group serves hosts (1) or not (0).', ({ state }) =>
      state === 'normal' ? 1 : 0,
    );
    gauge(
      'jnbd_group_conditions',
      'How many things are not as they should be.',
      ({ conditions }) => conditions.list().length,
    );
    gauge('jnbd_journal_capacity_bytes', 'Capacity of the journal.', (g) => g.chain.capacityBytes);
    gauge('jnbd_journal_used_bytes', 'Journal space that is in use.', (g) => g.chain.usedBytes);
    gauge(
      'jnbd_journal_unsynced_bytes',
      'Bytes in the journal that are not durable yet.',
      (group) => group.retained.bytes,
    );
    gauge(
      'jnbd_durable_lag_updates',
      'Updates that are not durable yet.',
      ({ watermarks }) => watermarks.newest - watermarks.durable,
    );
    gauge(
      'jnbd_durable_lag_seconds',
      'Age of the oldest update that is not durable yet; 0 when there is none.',
      (group) => lagClock.ageSeconds(group, group.watermarks.durable),
    );
    gauge(
      'jnbd_apply_lag_updates',
      'Updates that are not in the volumes yet.',
      ({ watermarks }) => watermarks.newest - watermarks.applied,
    );
    gauge(
      'jnbd_apply_lag_bytes',
      'Bytes of updates that are not in the volumes yet, overwritten ones included.',
      (group) => group.unappliedBytes,
    );
    gauge(
      'jnbd_apply_lag_seconds',
      'Age of the oldest update that is not in its volume yet; 0 when there is none.',
      (group) => lagClock.ageSeconds(group, group.watermarks.applied),
    );
    for (const name of watermarkNames) {
      gauge(
        `jnbd_group_${name}_update_number`,
        `The update number that is ${name}.`,
        ({ watermarks }) => watermarks[name],
      );
    }
  }

  #addFollowing(): void {
    const { system, following, verifying, lagClock, copyClock } = this.#sources;
    const told = [...followMetrics(following, lagClock, copyClock), ...verifyMetrics(verifying)];
    for (const { name, help, values } of told) {
      this.#add(name, help, 'gauge', () => [...system.groups.values()].flatMap(values));
    }
    for (const { name, help, type, values } of [
      ...snapshotMetrics,
      ...viewMetrics,
      ...checksumMetrics,
    ]) {
      this.#add(name, help, type, () => [...system.groups.values()].flatMap(values));
    }
    for (const { name, help, type, values } of cutMetrics(this.#sources.cutting)) {
      this.#add(name, help, type, values);
    }
  }

  // --- process

  #addProcess(): void {
    const { system, watch, version, memoryBytes, connections } = this.#sources;
    let delay = watch.takeEventLoopDelay();
    this.#add('jnbd_build_info', 'The version that runs.', 'gauge', () => [
      { value: 1, labels: { version, system: system.name } },
    ]);
    this.#gauge('jnbd_resident_memory_bytes', 'Resident memory of the process.', () =>
      watch.residentBytes(),
    );
    this.#gauge('jnbd_memory_budget_bytes', 'The budget of --memory.', () => memoryBytes);
    this.#gauge('jnbd_connections', 'NBD connections.', () => connections().length);
    this.#gauge(
      'jnbd_event_loop_delay_max_seconds',
      'The latest that the event loop was since the last scrape.',
      () => {
        delay = watch.takeEventLoopDelay();
        return delay.maxSeconds;
      },
    );
    this.#add(
      'jnbd_event_loop_delay_seconds',
      'How late the event loop was since the last scrape; sum and count since the start.',
      'summary',
      () => [
        ...[...delay.quantiles].map(([quantile, value]) => ({ value, labels: { quantile } })),
        { metricName: 'jnbd_event_loop_delay_seconds_sum', value: delay.sumSeconds, labels: {} },
        { metricName: 'jnbd_event_loop_delay_seconds_count', value: delay.count, labels: {} },
      ],
    );
  }
}

/** A histogram for each operation that happened at all. */
function latencyValues({ metrics }: Volume, labels: Labels): Value[] {
  const name = 'jnbd_volume_latency_seconds';
  const values: Value[] = [];
  for (const operation of hostOperations) {
    const { counts, sumNanoseconds } = metrics.latencyNanoseconds[operation];
    let cumulative = 0;
    const own = { ...labels, operation };
    const buckets: Value[] = [];
    for (let bucket = 0; bucket < latencyBuckets; bucket += 1) {
      cumulative += counts[bucket] ?? 0;
      buckets.push({
        metricName: `${name}_bucket`,
        value: cumulative,
        labels: { ...own, le: latencyBucketSeconds(bucket) },
      });
    }
    cumulative += counts[latencyBuckets] ?? 0;
    if (cumulative === 0) continue;
    values.push(
      ...buckets,
      { metricName: `${name}_bucket`, value: cumulative, labels: { ...own, le: '+Inf' } },
      { metricName: `${name}_sum`, value: sumNanoseconds / 1e9, labels: own },
      { metricName: `${name}_count`, value: cumulative, labels: own },
    );
  }
  return values;
}
