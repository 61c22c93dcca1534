import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32 } from '../../src/platform/checksum.ts';
import { decodeDirtyMap, type DirtyMap, encodeDirtyMap } from '../../src/volume/dirty-map.ts';
import { RegionSet } from '../../src/volume/region-set.ts';

const number48 = fc.nat({ max: 2 ** 48 - 1 });
const position = fc.record({
  generation: fc.nat({ max: 2 ** 32 - 1 }),
  incarnation: number48,
  number: number48,
});

test('a dirty map comes back from its bytes', () => {
  fc.assert(
    fc.property(number48, number48, position, position, (systemId, from, through, own) => {
      const groupId = '00112233445566778899aabbccddeeff';
      const regions = RegionSet.of([{ volume: 1, offset: from % 4096, length: 512 }]);
      const map: DirtyMap = { groupId, systemId, from, through, own, regions };
      const found = decodeDirtyMap(encodeDirtyMap(map), 'it');
      expect({ ...found, regions: [...found.regions.ranges()] }).toEqual({
        ...map,
        regions: [...regions.ranges()],
      });
    }),
  );
});

const map: DirtyMap = {
  groupId: 'ff00112233445566778899aabbccddee',
  systemId: 0x0605_0403_0201,
  from: 0x102,
  through: { number: 0x203, generation: 4, incarnation: 5 },
  own: { number: 0x306, generation: 7, incarnation: 8 },
  regions: new RegionSet(),
};

test('a dirty map is laid out as written in FORMAT.md', () => {
  const bytes = Buffer.from(encodeDirtyMap(map));
  const contents = [
    Buffer.from('jnbdDRT1').toString('hex'),
    '0100' + '00'.repeat(6),
    map.groupId,
    '010203040506' + '0000',
    '020100000000' + '0000',
    '030200000000' + '04000000' + '050000000000',
    '060300000000' + '07000000' + '080000000000',
    '00'.repeat(12),
  ].join('');
  expect(bytes.toString('hex', 0, 92)).toBe(contents);
  expect(bytes.readUInt32LE(92)).toBe(crc32(bytes.subarray(0, 92)));
  expect(bytes.subarray(96)).toEqual(Buffer.from(map.regions.encode()));
});

test('a dirty map that is damaged in any byte is refused', () => {
  const bytes = Buffer.from(encodeDirtyMap(map));
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    expect(() => decodeDirtyMap(changed, `it, byte ${at}`)).toThrow(`byte ${at} is damaged`);
    expect(() => decodeDirtyMap(bytes.subarray(0, at), 'dirty-1')).toThrow('damaged');
  }
});
