import type { Group } from '../../src/group/order/group.ts';

/** For who reads of a hang. */
export function describeGroups(groups: Iterable<Group>): string {
  const texts: string[] = [];
  for (const group of groups) {
    const { released, applied, durable, newest } = group.watermarks;
    const areas = group.areas.map((area) => `${area.state} ${area.freeSlots.length}/${area.slots}`);
    const conditions = group.conditions.list().map(({ code }) => code);
    texts.push(
      `${group.name} ${group.state}, apply ${group.applyState}, ${released} <= ${applied} <= ${durable} <= ${newest}, areas ${areas.join(' and ')}, conditions ${conditions.join(' ') || 'none'}`,
    );
  }
  return texts.join('; ');
}
