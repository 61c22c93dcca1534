import { resolve } from 'node:path';
import type { AreaLayout } from '../../journal/segment-chain.ts';
import { JnbdError } from '../../platform/errors.ts';
import { formatExactSize } from '../../platform/size-text.ts';
import { type Catalog, journalAreas, type OnFull } from './catalog.ts';
import type { GroupFiles } from './group-files.ts';

/** What a new group is to be like; left out is what has a default. */
export interface GroupSettings {
  readonly journalCapacityBytes?: number;
  readonly journalDirectories?: readonly string[];
  readonly areaLayout?: AreaLayout;
  readonly onFull?: OnFull;
  readonly syncIntervalMilliseconds?: number;
}

/** Absolute. Throws argument_invalid. */
export function checkPaths({ journalDirectories = [] }: GroupSettings): string[] {
  const paths = journalDirectories.map((path) => resolve(path));
  const twice = paths.find((path, at) => paths.indexOf(path) !== at);
  if (twice === undefined) return paths;
  throw new JnbdError('argument_invalid', `--journal-dir ${twice} is named twice`);
}

/** Throws exists_differently, naming what is not as wanted. */
export function checkSame(catalog: Catalog, files: GroupFiles, settings: GroupSettings): void {
  const different: string[] = [];
  const compare = (option: string, wanted: string, found: string): void => {
    if (wanted !== found) different.push(`${option} is ${found}, not ${wanted}`);
  };
  const { journalCapacityBytes: size = catalog.journalCapacityBytes } = settings;
  compare('--journal-size', formatExactSize(size), formatExactSize(catalog.journalCapacityBytes));
  compare('--areas', settings.areaLayout ?? catalog.areaLayout, catalog.areaLayout);
  if (settings.journalDirectories?.length) {
    compare(
      '--journal-dir',
      settings.journalDirectories.map((path) => resolve(path)).join(', '),
      journalAreas(catalog)
        .map(({ path }) => files.area(path))
        .join(', '),
    );
  }
  if (different.length > 0) {
    throw new JnbdError(
      'exists_differently',
      `group ${catalog.name} exists, but ${different.join('; ')}`,
    );
  }
}
