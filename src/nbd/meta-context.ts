/** Metadata contexts (protocol: "Metadata querying"). There is one: where an export holds data. */
export const baseAllocation = 'base:allocation';
/** Unique within a connection. 0 is what LIST sends, where the number means nothing. */
export const baseAllocationId = 1;

export interface MetaContext {
  readonly id: number;
  readonly name: string;
}

const contexts: readonly MetaContext[] = [{ id: baseAllocationId, name: baseAllocation }];

/** No queries: everything. `base:` is a wildcard here. What is not known selects nothing. */
export function listMetaContexts(queries: readonly string[]): MetaContext[] {
  if (queries.length === 0) return [...contexts];
  return contexts.filter((context) =>
    queries.some((query) => query === context.name || query === namespaceOf(context.name)),
  );
}

/** No queries: nothing. No wildcards here. */
export function selectMetaContexts(queries: readonly string[]): MetaContext[] {
  return contexts.filter((context) => queries.includes(context.name));
}

/** `base:` of `base:allocation`. */
function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf(':') + 1);
}
