import { ControlClient } from '../control/client.ts';
import { verbs } from '../control/schema.ts';
import type { GroupStatus, Status } from '../control/schema-status.ts';
import { JnbdError } from '../platform/errors.ts';
import type { LocalCommand } from './command.ts';
import { startCopyBar } from './copy-bar.ts';
import { findGroup } from './found.ts';

const pollMilliseconds = 100;
const timeoutMillisecondsDefault = 60_000;

export const command: LocalCommand<'wait'> = {
  kind: 'local',
  name: 'wait',
  async run(input, context, print) {
    const { group: name, for: what, timeout } = verbs.wait.parameters.parse(input);
    const client = new ControlClient(context.location);
    const end = Date.now() + (timeout ?? timeoutMillisecondsDefault);
    const isWatched = !context.json && process.stderr.isTTY && what === 'synced';
    const bar = isWatched ? await startCopyBar() : undefined;
    const look = async (): Promise<GroupStatus | undefined> => {
      const status = await client.status();
      const group = findGroup(status, name);
      if (isReached(group, status, what)) return group;
      const copy = copyProgress(group, status.system.name);
      if (copy) bar?.show(copy);
      if (Date.now() < end) return undefined;
      throw new JnbdError('timed_out', `group ${name} is not ${what}: ${presentText(group)}`);
    };
    try {
      let group = await look();
      while (!group) {
        await new Promise((resolve) => setTimeout(resolve, pollMilliseconds));
        group = await look();
      }
      bar?.end();
      print({ result: 'reached', group }, `group ${name} is ${what}`);
    } catch (error) {
      bar?.end();
      throw error;
    }
  },
};

function isReached(group: GroupStatus, { system, cuts }: Status, what: string): boolean {
  const { role, state, upstream, pairs, watermarks, rollback } = group;
  if (what === 'primary') return role === 'primary' && state === 'normal' && rollback === null;
  if (what.startsWith('applied='))
    return watermarks.applied >= Number(what.slice('applied='.length));
  // Of a group that follows, who follows it in turn is another matter.
  const wanted = upstream ? pairs.filter(({ secondary }) => secondary === system.name) : pairs;
  const isCopied = wanted.every((pair) => pair.state === 'normal');
  const isReading = upstream === null || upstream.state === 'reading';
  const lag = upstream?.lag;
  // What a cut holds back is not to be applied yet.
  const hold = cuts.flatMap(({ targets }) => targets).find((target) => target.group === group.name);
  const { applied, newest } = watermarks;
  const isHeld = hold !== undefined && upstream !== null && applied >= hold.heldAt;
  const isReceived = lag === undefined || lag.received.updates === 0;
  const isApplied = applied === newest && (lag === undefined || lag.applied.updates === 0);
  return isCopied && isReading && isReceived && (isApplied || isHeld);
}

/** Of the contents that this system still gets; undefined: it has them all. */
function copyProgress(
  { pairs, volumes }: GroupStatus,
  systemName: string,
): { bytes: number; totalBytes: number } | undefined {
  const own = pairs.filter(({ secondary }) => secondary === systemName);
  if (!own.some(({ state }) => state === 'copying')) return undefined;
  const bytes = own.reduce((sum, { copyCompletionBytes }) => sum + copyCompletionBytes, 0);
  const totalBytes = volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return { bytes, totalBytes };
}

function presentText({ role, state, upstream, watermarks }: GroupStatus): string {
  const source = upstream
    ? `, ${upstream.state} ${upstream.url} ${upstream.failure}`.trimEnd()
    : '';
  return `it is ${role}, ${state}${source}; applied ${watermarks.applied}, newest ${watermarks.newest}`;
}
