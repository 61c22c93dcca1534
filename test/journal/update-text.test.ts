import { expect, test } from 'vitest';
import { notDurableText, updatesText, updatesWereText } from '../../src/journal/update-text.ts';

test('one update and several read as they should', () => {
  expect(updatesText(5, 5)).toBe('update 5');
  expect(updatesText(5, 7)).toBe('updates 5 to 7');
  expect(updatesWereText(5, 5)).toBe('update 5 was');
  expect(updatesWereText(5, 7)).toBe('updates 5 to 7 were');
  expect(notDurableText(4, 5)).toBe('update 5 is not durable');
  expect(notDurableText(4, 7)).toBe('updates 5 to 7 are not durable');
  expect(notDurableText(4, 4)).toBe('every update is durable');
});
