import type { Catalog } from './catalog.ts';

/** Updates that no other history has, as far as is known; `newest` is the newest one here. */
export function tailUpdates({ takenOver }: Catalog, newest: number): number {
  return takenOver ? Math.max(0, newest - takenOver.fork) : 0;
}

/** What makes a diverged system follow. */
export function followCommand(catalog: Catalog, newest: number): string {
  const { name, takenOver } = catalog;
  const url = takenOver?.url ?? `http://${takenOver?.name ?? 'HOST'}:10810`;
  const there =
    takenOver && takenOver.groupName !== name ? ` --source-group ${takenOver.groupName}` : '';
  return `jnbd follow ${name} --from ${url}${there}${tailUpdates(catalog, newest) > 0 ? ' --rewind' : ''}`;
}

/** The sentence for hosts of a group that is not primary here. */
export function roleText(catalog: Catalog, newest: number): string {
  const { role = 'primary', takenOver } = catalog;
  return role === 'diverged' && takenOver
    ? `it is diverged on this system: generation ${takenOver.generation} was begun elsewhere, says system ${takenOver.name}; next: ${followCommand(catalog, newest)}`
    : `it is ${role} on this system: hosts write to its primary`;
}
