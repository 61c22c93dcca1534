/** So often the rest of the process has its turn, too: whoever runs many seeds tells of them. */
const turnsBetween = 4096;
let turns = 0;
let turn: Promise<void> | undefined;

/**
 * Every promise that can go on without this world's events has gone on. Node.js runs what is to come next once no
 * promise is left to go on with; a turn of its event loop for each event of a simulation would take as long as the event.
 */
export function settlePromises(): Promise<void> {
  turns += 1;
  // Nobody goes on while somebody waits for a turn: it would not come.
  if (turn) return turn;
  if (turns % turnsBetween !== 0) return new Promise((resolve) => process.nextTick(resolve));
  turn = new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      resolve();
    });
  });
  return turn;
}
