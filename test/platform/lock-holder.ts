/** Process of the tests: takes the lock named by its argument, and says whether it could. */
import { NodeDisk } from '../../src/platform/node-disk.ts';

const [, , file = '', then] = process.argv;
const lock = new NodeDisk().lockSync(file);
console.log(lock === undefined ? 'held by another' : 'locked');
if (then === 'stay') setInterval(() => {}, 1000);
