import { JnbdError } from '../../platform/errors.ts';

/**
 * A group's files are those of the opening that is under way: whoever waited for something, and still has an
 * earlier one, would take back what the next one did.
 */
export function closedGroup(path: string): JnbdError {
  return new JnbdError(
    'group_state',
    `cannot replace ${path}: its group was closed meanwhile, or its journal begins anew; try again`,
  );
}
