import { resolve } from 'node:path';
import { Command } from 'commander';
import type { JournalReport, RecordReport } from '../journal/inspect-report.ts';
import { exitCodes, JnbdError } from '../platform/errors.ts';
import { printJson, printText } from './output.ts';

const directoryText = "a data directory, a group's directory in it, or a journal directory";

interface InspectInput {
  readonly json?: boolean;
  readonly records?: boolean;
  readonly from?: string;
  readonly through?: string;
}

/**
 * `jnbd journal inspect|check DIR`: reads a journal without a daemon, or beside one. `exit` gets the
 * exit code of a check that found damage.
 */
export function journalCommand(
  exit: (code: number) => void,
  command = new Command('journal'),
): Command {
  command.description('read a journal offline, damaged or not');
  command
    .command('inspect')
    .description('show what stands in a journal')
    .argument('<DIR>', directoryText)
    .option('--records', 'show every record')
    .option('--from <NUMBER>', 'show the records from this update number on')
    .option('--through <NUMBER>', 'show the records up to this update number')
    .option('--json', 'print the result as JSON')
    .action((directory: string, input: InspectInput) => inspect(directory, input));
  command
    .command('check')
    .description('prove every record that is retained; exits 7 where anything is damaged')
    .argument('<DIR>', directoryText)
    .option('--json', 'print the result as JSON')
    .action(async (directory: string, input: InspectInput) => {
      const report = await check(directory, input);
      if (report.damaged) exit(exitCodes.damage);
    });
  return command;
}

async function inspect(directory: string, input: InspectInput): Promise<void> {
  const [{ inspectJournal }, { offlineDisk }] = await load();
  const from = updateNumber('--from', input.from, 0);
  const through = updateNumber('--through', input.through, Number.POSITIVE_INFINITY);
  const areShown =
    input.records === true || input.from !== undefined || input.through !== undefined;
  const isWanted = ({ number, type }: RecordReport): boolean =>
    number === null || type === 'mark' || type === 'roll'
      ? from === 0 && through === Number.POSITIVE_INFINITY
      : number >= from && number <= through;
  const { inspectText, recordText } = await import('./journal-texts.ts');
  const records: RecordReport[] = [];
  const report = inspectJournal(offlineDisk(), resolve(directory), (record) => {
    if (!areShown || !isWanted(record)) return;
    if (input.json === true) records.push(record);
    else printText(recordText(record));
  });
  if (input.json === true) printJson(areShown ? { ...report, records } : report);
  else printText(inspectText(report));
}

async function check(directory: string, input: InspectInput): Promise<JournalReport> {
  const [{ checkJournal }, { offlineDisk }] = await load();
  const report = checkJournal(offlineDisk(), resolve(directory));
  if (input.json === true) printJson(report);
  else printText((await import('./journal-texts.ts')).checkText(report));
  return report;
}

function load() {
  return Promise.all([import('../journal/inspect.ts'), import('../journal/offline-disk.ts')]);
}

function updateNumber(option: string, text: string | undefined, without: number): number {
  if (text === undefined) return without;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new JnbdError('argument_invalid', `${option} ${text} is not an update number`);
}
