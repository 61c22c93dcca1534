import type { JnbdError } from '../platform/errors.ts';

/** Standard output is the result. A reader that has seen enough is no error. */
export function printText(text: string): void {
  if (text !== '') process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function printJson(value: unknown): void {
  printText(JSON.stringify(value));
}

export function printError(error: JnbdError, isJson: boolean, isTold: boolean): void {
  // What others say (OpenSSL) may have several lines; an error of ours is one.
  const line = error.message.trim().replace(/\s*\n\s*/g, ' ');
  if (isTold) process.stderr.write(`jnbd: ${line}\n`);
  if (isJson) printJson({ error: { code: error.code, message: error.message } });
}
