import { readFileSync } from 'node:fs';
import { missingPrograms, recordedTool, requireProgram } from '../../support/tools.ts';
import {
  type GuestFile,
  initramfs,
  modulesInOrder,
  programWithLibraries,
  unique,
} from './initramfs.ts';

export interface GuestPlan {
  /** Beside this file; the guest's init. */
  readonly script: string;
  /** Lines of `NAME=value` that it reads. */
  readonly settings: string;
  /** With their libraries. */
  readonly programs: readonly string[];
  readonly fileSystems: readonly ('ext4' | 'xfs')[];
}

const kernel = recordedTool('JNBD_TEST_KERNEL');
const modules = recordedTool('JNBD_TEST_KERNEL_MODULES');

/** The kernel that guests run. */
export const guestKernel = kernel ?? '';

/** What is missing for a guest with these programs, in words; empty when nothing is. */
export function missingForGuest(programs: readonly string[]): string[] {
  return [
    ...missingPrograms('qemu-system-x86_64', 'busybox', ...programs),
    ...(kernel === undefined || modules === undefined ? ['the cloud kernel'] : []),
  ];
}

export async function guestImage(plan: GuestPlan): Promise<Buffer> {
  const files: GuestFile[] = [
    {
      path: 'init',
      contents: readFileSync(new URL(plan.script, import.meta.url)),
      executable: true,
    },
    { path: 'settings', contents: Buffer.from(plan.settings), executable: false },
    { path: 'bin/busybox', contents: readFileSync(requireProgram('busybox')), executable: true },
  ];
  const libraryPath = recordedTool('JNBD_TEST_LIBRARY_PATH') ?? '';
  for (const name of plan.programs) {
    files.push(...(await programWithLibraries(requireProgram(name), libraryPath)));
  }
  const wanted = ['virtio_pci', 'virtio_net', 'nbd', 'crc32c_generic', ...plan.fileSystems];
  modulesInOrder(modules ?? '', wanted).forEach((path, index) => {
    files.push({
      path: `modules/${String(index).padStart(2, '0')}`,
      contents: readFileSync(path),
      executable: false,
    });
  });
  return initramfs(unique(files));
}
