import { expect, test } from 'vitest';
import { type Condition, Conditions } from '../../../src/group/catalog/conditions.ts';

const condition: Condition = {
  code: 'journal_full',
  severity: 'error',
  message: 'the journal of group g is full',
  nextCommand: 'jnbd group show g',
};

test('a condition is told when it is raised and when it is over, each with what is so then', () => {
  const told: unknown[][] = [];
  const conditions = new Conditions((...event) => told.push(event));
  conditions.clear('g', 'journal_full', 'nothing was wrong');
  conditions.raise('g', condition);
  conditions.raise('g', { ...condition, message: 'it is still full' });
  expect(conditions.list()).toEqual([{ ...condition, message: 'it is still full' }]);
  conditions.clear('h', 'journal_full', 'that was another one');
  conditions.clear('g', 'journal_full', 'the journal of group g has room');
  conditions.clear('g', 'journal_full', 'it has it still');
  expect(conditions.list()).toEqual([]);
  expect(told).toEqual([
    ['journal_full', 'the journal of group g is full', { nextCommand: 'jnbd group show g' }],
    ['journal_full_cleared', 'the journal of group g has room', {}],
  ]);
});
