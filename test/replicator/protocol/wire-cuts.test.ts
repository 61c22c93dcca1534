import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CutDefinition,
  cutAnswer,
  cutDefinitionSchema,
  cutExchanges,
  cutPath,
  cutRouteOf,
  encodeCutJson,
} from '../../../src/replicator/protocol/wire-cuts.ts';
import { parseJson } from '../../../src/replicator/protocol/wire-json.ts';
import { violation } from './violation.ts';

const cutId = 'ab'.repeat(16);
const place = (systemId: number) => ({
  systemId,
  systemName: `system-${systemId}`,
  url: `http://host-${systemId}:10810`,
  groupId: 'cd'.repeat(16),
  group: 'g',
});
const definition: CutDefinition = {
  cutId,
  name: 'orders',
  members: [place(1), place(2)],
  targets: [{ name: 'east', places: [place(3), place(4)] }],
  intervalMilliseconds: 1000,
  roundLimitMilliseconds: 50,
};
const whole = fc.bigInt({ min: 0n, max: 10n ** 18n - 1n });

describe('what systems of a cut ask', () => {
  test('comes back as it was, with numbers of any size', () => {
    fc.assert(
      fc.property(whole, whole, fc.nat(2 ** 40), (epoch, sequence, number) => {
        const marker = {
          epoch,
          sequence,
          wallTimeMilliseconds: 1.5,
          name: 'noon',
          number,
          isCommitted: true,
        };
        const told = {
          state: 'holding' as const,
          text: '',
          markers: [marker],
          heldAt: 1,
          received: 2,
          applied: 1,
          released: { epoch, sequence },
          next: null,
          promotion: { epoch, sequence, attempt: 'x' },
        };
        const { body } = cutAnswer(told);
        expect(parseJson(cutExchanges.targets.told, body, 'it')).toEqual(told);
      }),
    );
    const asked = encodeCutJson({ definition });
    expect(parseJson(cutExchanges.define.ask, asked, 'it')).toEqual({ definition });
  });

  test.each<[string, object, RegExp]>([
    ['an epoch that is a number', { epoch: 5 }, /epoch/],
    ['an epoch that is no number', { epoch: '-5' }, /epoch/],
    ['no epoch', {}, /epoch/],
  ])('%s is refused by name', (_, value, text) => {
    const ask = () => parseJson(cutExchanges.claim.ask, encodeCutJson(value), 'a claim');
    expect(violation(ask).message).toMatch(text);
  });

  test('has one secondary in a target list for each member', () => {
    const short = { ...definition, targets: [{ name: 'east', places: [place(3)] }] };
    expect(cutDefinitionSchema.safeParse(short).success).toBe(false);
    expect(cutDefinitionSchema.safeParse({ ...definition, members: [] }).success).toBe(false);
  });

  test('stands under the paths of cuts', () => {
    expect(cutRouteOf('POST', cutPath(cutId, 'prepare-promotion'))).toEqual({
      cutId,
      what: 'prepare-promotion',
    });
    for (const [method, path] of [
      ['GET', cutPath(cutId, 'mark')],
      ['POST', `/v1/cuts/${cutId}/toString`],
      ['POST', `/v1/cuts/${cutId.slice(1)}/mark`],
      ['POST', `/v1/cuts/${cutId}/mark/more`],
    ] as const) {
      expect(cutRouteOf(method, path)).toBeUndefined();
    }
  });
});
