import type { Group } from '../../group/order/group.ts';
import { giveWay, takeOverBy } from '../../group/order/take-over.ts';
import type { JnbdError } from '../../platform/errors.ts';
import { AdmissionRefused } from '../protocol/wire-json.ts';

/**
 * The source went on, in a newer generation, without what is newest here: the group is diverged, and waits
 * for a command (SAFETY 21). False: it refuses for another reason.
 */
export function partsFromSource(group: Group, error: JnbdError): boolean {
  const { state } = group.follow;
  if (!(error instanceof AdmissionRefused) || error.code !== 'diverged') return false;
  if (!state || group.role !== 'secondary') return false;
  const { lineage = [] } = error.details;
  const told = { lineage, newest: lineage.at(-1)?.firstNumber ?? 0 };
  const takeOver = takeOverBy(group, told, {
    systemId: state.sourceSystemId,
    name: state.sourceName,
    url: state.url,
    groupName: state.sourceGroup,
  });
  if (takeOver) giveWay(group, takeOver);
  return takeOver !== undefined;
}
