import {
  type Branch,
  deleteBranch,
  exportBranch,
  findBranch,
  listBranches,
} from '../group/system/branches.ts';
import type { System } from '../group/system/system.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { formatSize } from '../platform/size-text.ts';
import type { Parameters, Result } from './schema.ts';
import type { GroupStatus } from './schema-status.ts';

export interface BranchVerbSources {
  readonly system: System;
  readonly disk: Disk;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/** Carries out the verbs about branches. */
export class BranchVerbs {
  readonly #sources: BranchVerbSources;

  constructor(sources: BranchVerbSources) {
    this.#sources = sources;
  }

  async export(parameters: Parameters<'branch export'>): Promise<Result<'branch export'>> {
    const { system, disk } = this.#sources;
    const { branch: name, to: directory } = parameters;
    const group = system.group(parameters.group);
    const files = system.filesOf(group);
    const branch = findBranch(disk, files, group, name);
    await exportBranch({ disk, clock: group.clock }, files, branch, directory);
    return { result: 'done', branch: branchStatusOf(branch), directory };
  }

  delete(parameters: Parameters<'branch delete'>): Promise<Result<'branch delete'>> {
    const { system, disk, event } = this.#sources;
    const group = system.group(parameters.group);
    const files = system.filesOf(group);
    const branch = listBranches(disk, files).find(({ name }) => name === parameters.branch);
    if (!branch) return Promise.resolve({ result: 'already_done' });
    const { name, first, newest, bytes } = branch;
    if (parameters.force !== true) {
      throw new JnbdError(
        'confirmation_needed',
        `branch ${name} of group ${group.name} has updates ${first} to ${newest} (${formatSize(bytes)}), which nobody else has; --force deletes them`,
      );
    }
    deleteBranch(disk, files, branch);
    const text = `branch ${name} of group ${group.name} was deleted: updates ${first} to ${newest}`;
    event('branch_deleted', text, { group: group.name });
    return Promise.resolve({ result: 'done' });
  }
}

export function branchStatusOf(branch: Branch): GroupStatus['branches'][number] {
  const { name, fork, first, newest, bytes, savedAtMilliseconds } = branch;
  return { name, fork, first, newest, bytes, savedAt: new Date(savedAtMilliseconds).toISOString() };
}
