import type { ChangeCommand } from './command.ts';
import { done, promiseText, synchronousText } from './texts.ts';

export const command: ChangeCommand<'group configure'> = {
  kind: 'change',
  name: 'group configure',
  text: ({ result, group }) => {
    const { name, journal, secondaryExports, deleteDelaySeconds, synchronous, history } = group;
    const isOn = group.checksums.state !== 'off';
    return done(
      result,
      `group ${name}: on full ${journal.onFull}, sync interval ${journal.syncIntervalMilliseconds}ms, areas ${journal.areaLayout}, release ${journal.release}, secondary exports ${secondaryExports}, delete delay ${deleteDelaySeconds}s, ${synchronousText(synchronous)}, history ${promiseText(history)}, checksums ${isOn ? 'on' : 'off'}`,
    );
  },
};
