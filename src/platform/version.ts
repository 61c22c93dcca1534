import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** As in package.json, which is published beside the compiled program. */
export function readVersion(): string {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const description = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  return description.version;
}
