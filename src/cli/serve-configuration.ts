import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Document, isMap, isNode, LineCounter, parseDocument } from 'yaml';
import { firstIssue, type Input, verbs } from '../control/schema.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';

/** All but the file itself. */
const settings = verbs.serve.parameters.omit({ config: true });
/** Named from the directory of the file. */
const paths = ['data', 'tlsDir', 'pskFile', 'hooks'] as const;

/**
 * Reads the options of `serve` from a YAML file: their names without dashes before them. Throws
 * JnbdError configuration_invalid, naming file, line and column.
 */
export function readServeConfiguration(path: string): Input<'serve'> {
  const refuse = (message: string, cause?: unknown): never => {
    throw new JnbdError('configuration_invalid', message, { cause });
  };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return refuse(`cannot read --config ${path}: ${messageOf(error)}`, error);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const [error] = document.errors;
  if (error) return refuse(`${place(error.pos[0])}: ${error.message}`, error);
  if (document.contents === null) return {};
  if (!isMap(document.contents)) {
    return refuse(`${place(0)}: write one option a line, such as memory: 512MiB`);
  }
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(document.toJS() as Record<string, unknown>)) {
    const key = name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    // An option that may be repeated may stand alone.
    values[key] = key === 'nbd' && typeof value === 'string' ? [value] : value;
  }
  const parsed = settings.safeParse(values, { reportInput: true });
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0];
    const name = String(key ?? '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return refuse(`${place(offsetOf(document, name))}: ${firstIssue(settings, parsed.error)}`);
  }
  const input = values as Input<'serve'>;
  for (const key of paths) {
    if (input[key] !== undefined) input[key] = resolve(dirname(path), input[key]);
  }
  return input;
}

function offsetOf(document: Document, name: string): number {
  if (!isMap(document.contents)) return 0;
  for (const { key } of document.contents.items) {
    if (isNode(key) && String(key) === name) return key.range?.[0] ?? 0;
  }
  return 0;
}
