/**
 * How far the copies of `scripts/quickstart` are behind, once a second until it is ended.
 *
 *   GROUP live|lines NAME=URL...    URL of where a system listens; `live` keeps to one line of a terminal
 */
import type { GroupStatus, Status } from '../src/control/schema-status.ts';
import { formatSize } from '../src/platform/size-text.ts';

const [groupName, mode, ...systems] = process.argv.slice(2);
const intervalMilliseconds = 1000;

async function groupAt(url: string): Promise<GroupStatus | undefined> {
  const response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(900) });
  const { groups } = (await response.json()) as Status;
  return groups.find(({ name }) => name === groupName);
}

function textOf({ role, upstream, watermarks }: GroupStatus): string {
  if (!upstream) return `${role}, update ${watermarks.newest}`;
  const { updates, bytes, seconds } = upstream.lag.received;
  const how = upstream.state === 'reading' ? '' : `${upstream.state}, `;
  if (updates === 0 && seconds === 0) return `${how}level at update ${watermarks.newest}`;
  return `${how}${updates} updates, ${formatSize(bytes)}, ${seconds.toFixed(1)}s behind`;
}

async function tell(): Promise<void> {
  const texts = systems.map(async (system) => {
    const [name = '', url = ''] = system.split('=');
    try {
      const group = await groupAt(url);
      return `${name}: ${group ? textOf(group) : 'nothing yet'}`;
    } catch {
      return `${name}: gone`;
    }
  });
  const line = (await Promise.all(texts)).join(' | ');
  // What else is written there begins at its beginning, and goes over it.
  const width = Math.max(20, (process.stdout.columns ?? 80) - 1);
  process.stdout.write(mode === 'live' ? `\x1b[K${line.slice(0, width)}\r` : `lag: ${line}\n`);
}

await tell();
setInterval(() => void tell(), intervalMilliseconds);
