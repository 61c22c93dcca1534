/** How results read. Tables go to terminals and pipes alike: one line a thing, no borders. */
import Table from 'cli-table3';
import picocolors from 'picocolors';
import type { Result } from '../control/schema.ts';
import type { GroupStatus, SecondaryStatus, VolumeStatus } from '../control/schema-status.ts';
import { formatSize } from '../platform/size-text.ts';

/** For terminals only, and not where NO_COLOR asks for none. */
export const colors = picocolors.createColors(
  process.stdout.isTTY === true && !process.env['NO_COLOR'],
);

const blank = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const made = new Table({
    head: head.map((title) => colors.dim(title)),
    chars: blank,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  for (const row of rows) made.push([...row]);
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

export function stateText(state: string): string {
  if (state === 'normal' || state === 'primary' || state === 'healthy') return colors.green(state);
  return state === 'abnormal' || state === 'failed' ? colors.red(state) : colors.yellow(state);
}

export function done(result: 'done' | 'already_done', what: string): string {
  return result === 'done' ? what : `${what} (already done)`;
}

export function groupLine(group: GroupStatus): string[] {
  const { journal, watermarks } = group;
  return [
    group.name,
    stateText(group.state),
    group.role,
    `${formatSize(journal.usedBytes)} of ${formatSize(journal.capacityBytes)}`,
    String(watermarks.newest),
    `${group.lag.applied.updates} (${group.lag.applied.seconds.toFixed(1)}s)`,
    String(group.volumes.length),
  ];
}

export const groupHead = ['GROUP', 'STATE', 'ROLE', 'JOURNAL', 'NEWEST', 'TO APPLY', 'VOLUMES'];

export function volumeLine(group: string, volume: VolumeStatus): string[] {
  return [
    `${group}/${volume.name}`,
    stateText(volume.state),
    formatSize(volume.sizeBytes),
    volume.journalOnly ? 'journal-only' : formatSize(volume.allocatedBytes),
    volume.clients.map(({ address }) => address).join(', ') || '-',
  ];
}

export const volumeHead = ['VOLUME', 'STATE', 'SIZE', 'ALLOCATED', 'CLIENTS'];

/** Volumes that are gone at the source, and not yet here. */
export function deletedLines({ name, deletedVolumes }: GroupStatus): string[] {
  return deletedVolumes.map(
    (volume) =>
      `volume ${name}/${volume.name} (${formatSize(volume.allocatedBytes)} allocated) was deleted at the source; its file goes at ${volume.removedAt}`,
  );
}

/** SAFETY 33: what moves under a file system is not for mounting. */
export function movingNote(group: string): string {
  return `its volumes change under whoever reads them: do not mount them; promote the group first, or hide them: jnbd group configure ${group} --secondary-exports hidden`;
}

/** `name: value` lines. */
export function properties(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length)) + 1;
  return pairs.map(([name, value]) => `${`${name}:`.padEnd(width)} ${value}`).join('\n');
}

export function conditionLines(group: GroupStatus): string[] {
  return group.conditions.map(({ code, severity, message, nextCommand }) => {
    const paint = severity === 'error' ? colors.red : colors.yellow;
    return `${paint(`${severity} ${code}`)}: ${message}\n  next: ${nextCommand}`;
  });
}

/** Settings of synchronous followers. */
export function synchronousText({
  wait,
  timeoutMilliseconds,
  onLoss,
}: GroupStatus['synchronous']): string {
  return `sync wait ${wait}, timeout ${timeoutMilliseconds / 1000}s, on loss ${onLoss}`;
}

/** How far back the group is to be shown. */
export function promiseText({ promisedSeconds, promisedBytes }: GroupStatus['history']): string {
  if (promisedBytes > 0) return formatSize(promisedBytes);
  if (promisedSeconds === 0) return 'off';
  const isHours = promisedSeconds % 3600 === 0;
  return isHours ? `${promisedSeconds / 3600}h` : `${Math.round(promisedSeconds / 60)}m`;
}

export function historyText(group: GroupStatus): string {
  const { history, lastProven } = group;
  const { from, fromTime, keptBytes } = history;
  const proven = lastProven ? `; ${provenText(lastProven)}` : '';
  if (fromTime === null) return `${promiseText(history)}${proven}`;
  return `${promiseText(history)}; begins at update ${from}, ${fromTime}; ${formatSize(keptBytes)} kept${proven}`;
}

function provenText({
  number,
  at,
  result,
  passedAt,
}: NonNullable<GroupStatus['lastProven']>): string {
  if (result === 'passed') return `last proved recoverable at ${at} (update ${number})`;
  const before = passedAt === null ? 'none has passed yet' : `one passed at ${passedAt}`;
  return `a check of update ${number} failed at ${at}, ${before}`;
}

/** Whether both sides are shown to hold the same. */
export function checksumsText({ checksums, role }: GroupStatus): string {
  const { state, agreedAt, agreedTime, differing } = checksums;
  if (state === 'off') return 'off';
  const building = state === 'building' ? '; being built' : '';
  if (role === 'primary') return `on${building}`;
  const different = differing.length === 0 ? '' : `; ${differing.join(', ')} differ`;
  const agreed = agreedAt === null ? 'none yet' : `update ${agreedAt}, at ${agreedTime}`;
  return `on; same as the source at ${agreed}${different}${building}`;
}

/** The same of a follower, as it told it. */
export function followerChecksumsText({ checksums }: SecondaryStatus): string {
  const { state, agreedAt, agreedTime, differing } = checksums;
  if (state === 'off') return 'off';
  if (state === 'unknown') return 'not known';
  const agreed = agreedAt === null ? 'none yet' : `update ${agreedAt}, ${agreedTime}`;
  return differing.length === 0 ? agreed : `${agreed}; ${differing.join(', ')} differ`;
}

/** Whether what hosts are answered is on followers too. */
export function protectionText({ synchronous }: GroupStatus): string {
  const { state, sinceUpdate, since, members, needed, lost } = synchronous;
  if (state === 'none') return 'wait for no follower';
  if (state === 'unprotected') {
    const why = lost.length === 0 ? '' : `: ${lost.join(', ')} was lost`;
    return `do not wait for followers since ${since}${why}; updates from ${sinceUpdate} on may be missing there`;
  }
  const whom = needed === members.length ? '' : `${needed} of `;
  return `wait for ${whom}${members.join(', ')} from update ${sinceUpdate} on`;
}

export const secondaryHead = ['SYSTEM', 'STATE', 'SENT', 'RECEIVED', 'APPLIED', 'LAG', 'SAME AT'];

export function secondaryLine(secondary: SecondaryStatus): string[] {
  const { name, state, synchronous, sent, received, applied, lag, dirtyBytes } = secondary;
  return [
    name,
    synchronous === null ? stateText(state) : `${stateText(state)}, ${synchronous}`,
    String(sent),
    String(received),
    String(applied),
    dirtyBytes === null
      ? lagText(lag.received)
      : `${lagText(lag.received)}; returns with ${formatSize(dirtyBytes)} that changed`,
    followerChecksumsText(secondary),
  ];
}

/** Of what a rollback takes back. */
export function takenBackText({
  updates,
  bytes,
  seconds,
}: NonNullable<Result<'promote'>['rollback']>['lost']): string {
  return `${updates} updates, ${formatSize(bytes)}, ${seconds.toFixed(1)}s`;
}

/** Of volumes on their way back to an earlier update. */
export function rollbackText({ rollback }: GroupStatus): string {
  if (!rollback) return 'none';
  const { to, volumes, state, waitsFor, doneBytes, totalBytes } = rollback;
  const why = waitsFor === '' ? '' : ` (${waitsFor})`;
  return `${volumes.join(', ')} to update ${to}: ${state}${why}, ${formatSize(doneBytes)} of ${formatSize(totalBytes)}`;
}

export function lagText({ updates, bytes, seconds }: SecondaryStatus['lag']['received']): string {
  return `${updates} updates, ${formatSize(bytes)}, ${seconds.toFixed(1)}s`;
}

function contentsText(contents: NonNullable<GroupStatus['upstream']>['contents']): string {
  if (!contents) return '';
  const { missingBytes, bytesPerSecond, secondsLeft } = contents;
  const rest = secondsLeft === null ? '' : `, ${Math.ceil(secondsLeft)}s left`;
  return `; copying: ${formatSize(missingBytes)} missing, ${formatSize(bytesPerSecond)}/s${rest}`;
}

/** Of a group that follows. */
export function upstreamText({ upstream }: GroupStatus): string {
  if (!upstream) return 'nobody';
  const why = upstream.failure === '' ? '' : ` (${upstream.failure})`;
  const named = upstream.name === '' ? '' : `${upstream.name} at `;
  return `${named}${upstream.url}, ${upstream.state}${why}${contentsText(upstream.contents)}`;
}
