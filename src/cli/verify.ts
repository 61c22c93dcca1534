import { formatSize } from '../platform/size-text.ts';
import { exitCodes } from '../platform/errors.ts';
import type { Result } from '../control/schema.ts';
import type { ChangeCommand } from './command.ts';
import { startBar } from './copy-bar.ts';

type Verified = Result<'verify'>;

const shownMax = 20;

export const command: ChangeCommand<'verify'> = {
  kind: 'change',
  name: 'verify',
  startProgress: () => startBar('comparing'),
  text: (verified) =>
    [
      headLine(verified),
      ...verified.systems.flatMap(systemLines),
      ...firstOf(
        verified.damages.map(
          ({ system, file, place, text }) => `damaged on ${system}: ${file}, ${place}: ${text}`,
        ),
      ),
      ...repairLines(verified),
    ].join('\n'),
  exitCode: ({ result }) => {
    if (result === 'same') return 0;
    return result === 'failed' ? exitCodes.retryable : exitCodes.damage;
  },
};

function headLine({ group, number, comparedBytes, systems, damages }: Verified): string {
  const checked =
    damages.length === 0
      ? 'its journal and its files are whole'
      : `${damages.length} damages were found`;
  if (number !== null)
    return `group ${group}: ${formatSize(comparedBytes)} compared as of update ${number}; ${checked}`;
  const why = systems.length === 0 ? 'there is nobody to compare with' : 'nothing was compared';
  return `group ${group}: ${checked}; ${why}`;
}

function systemLines(system: Verified['systems'][number]): string[] {
  const { name, result, reason, differingBytes, differences } = system;
  if (result === 'same') return [`same on ${name}`];
  if (result !== 'different') return [`${result} on ${name}: ${reason}`];
  return [
    `different on ${name}: ${formatSize(differingBytes)}${reason === '' ? '' : ` so far (${reason})`}`,
    ...firstOf(
      differences.map(
        ({ snapshot, volume, offset, length }) =>
          `  ${volume}${snapshot === null ? '' : `@${snapshot}`} from ${offset}, ${length} bytes`,
      ),
    ),
  ];
}

function repairLines({ group, result, repair, systems, damages }: Verified): string[] {
  if (repair) {
    const left =
      repair.leftBytes > 0
        ? `; ${formatSize(repair.leftBytes)} were overwritten meanwhile and left`
        : '';
    return [
      `repaired from ${repair.from}: ${formatSize(repair.bytes)}${left}`,
      `next: jnbd wait ${group} --for synced, then jnbd verify ${group}`,
    ];
  }
  if (result !== 'different') return damages.length > 0 ? ['next: jnbd events'] : [];
  const names = systems.filter((each) => each.result === 'different').map(({ name }) => name);
  return [
    `next: where ${names.join(' or ')} is right, jnbd verify ${group} --repair-from ${names[0] ?? 'SYSTEM'}; where this system is, the same there`,
  ];
}

function firstOf(lines: readonly string[]): string[] {
  if (lines.length <= shownMax) return [...lines];
  return [...lines.slice(0, shownMax), `  and ${lines.length - shownMax} more; --json lists them`];
}
