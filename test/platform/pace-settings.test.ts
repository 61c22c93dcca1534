import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JnbdError } from '../../src/platform/errors.ts';
import { paceBatchBytesMax, paceBatchBytesMin } from '../../src/platform/limits.ts';
import {
  formatBatchSize,
  formatPace,
  type Pace,
  paceInputs,
  paceSettingsDefault,
  parseBatchSize,
  parsePace,
} from '../../src/platform/pace-settings.ts';

/** What is said of a text that is refused. */
function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (error instanceof JnbdError && error.code === 'argument_invalid') return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('--pace', () => {
  it.each<[string, Pace]>([
    ['immediate', { mode: 'immediate' }],
    ['interval:5s', { mode: 'interval', intervalMilliseconds: 5000 }],
    ['interval:10ms', { mode: 'interval', intervalMilliseconds: 10 }],
    ['adaptive', { mode: 'adaptive', inputs: paceInputs }],
    ['adaptive:link,own-journal', { mode: 'adaptive', inputs: ['link', 'own-journal'] }],
    ['adaptive:own-load', { mode: 'adaptive', inputs: ['own-load'] }],
  ])('%s', (text, pace) => {
    expect(parsePace(text)).toEqual(pace);
    expect(formatPace(pace)).toBe(text);
  });

  it('takes inputs in any order', () => {
    expect(formatPace(parsePace('adaptive:own-journal, link'))).toBe('adaptive:link,own-journal');
    expect(formatPace(parsePace(`adaptive:${paceInputs.join(',')}`))).toBe('adaptive');
  });

  it.each([
    ['', /'' is no pace; write immediate, interval:TIME/],
    ['Immediate', /no pace/],
    ['immediate:', /no pace/],
    ['immediate:link', /no pace/],
    ['interval', /'interval' has no time; .*interval:5s/],
    ['interval:5', /has no time/],
    ['interval:-5s', /has no time/],
    ['interval:9ms', /'interval:9ms' is not possible; an interval is 10ms to 24h/],
    ['interval:25h', /10ms to 24h/],
    ['adaptive:', /empty input; the inputs are records, link, own-journal, own-load, source-j/],
    ['adaptive:link,', /empty input/],
    ['adaptive:links', /'links' in 'adaptive:links' is no input; the inputs are/],
    ['adaptive:link,own-load,link', /names link twice/],
  ])('refuses %j', (text, message) => {
    expect(refusal(() => parsePace(text))).toMatch(message);
  });

  it('is read back as it is written', () => {
    const pace = fc.oneof(
      fc.constant<Pace>({ mode: 'immediate' }),
      fc
        .integer({ min: 10, max: 86_400_000 })
        .map((intervalMilliseconds): Pace => ({ mode: 'interval', intervalMilliseconds })),
      fc.subarray([...paceInputs], { minLength: 1 }).map((inputs): Pace => {
        return { mode: 'adaptive', inputs };
      }),
    );
    fc.assert(
      fc.property(pace, (each) => {
        expect(parsePace(formatPace(each))).toEqual(each);
      }),
    );
  });

  it('is never anything but a pace or a sentence', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const said = refusal(() => {
          formatPace(parsePace(text));
          throw new JnbdError('argument_invalid', 'a pace');
        });
        expect(said).not.toBe('');
      }),
    );
  });
});

describe('--batch-size', () => {
  it('is adaptive, or a size', () => {
    expect(parseBatchSize('adaptive')).toBe('adaptive');
    expect(parseBatchSize('1MiB')).toBe(2 ** 20);
    expect(formatBatchSize('adaptive')).toBe('adaptive');
    expect(formatBatchSize(2 ** 20)).toBe('1MiB');
  });

  it.each([
    ['', /'' is no batch size; write adaptive, or a size such as 1MiB/],
    ['large', /no batch size/],
    ['255KiB', /'255KiB' is not possible; a batch is 256KiB to 16MiB/],
    ['17MiB', /256KiB to 16MiB/],
  ])('refuses %j', (text, message) => {
    expect(refusal(() => parseBatchSize(text))).toMatch(message);
  });

  it('is read back as it is written', () => {
    fc.assert(
      fc.property(fc.integer({ min: paceBatchBytesMin, max: paceBatchBytesMax }), (bytes) => {
        expect(parseBatchSize(formatBatchSize(bytes))).toBe(bytes);
      }),
    );
  });
});

it('is adaptive, whatever the own load, where nobody says otherwise', () => {
  const { pace } = paceSettingsDefault;
  expect(formatPace(pace)).toBe('adaptive:records,link,own-journal,source-journal');
  expect(parsePace(formatPace(pace))).toEqual(pace);
  expect(paceSettingsDefault.batchSize).toBe('adaptive');
});
