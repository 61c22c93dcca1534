import { ControlClient } from '../control/client.ts';
import { verbs } from '../control/schema.ts';
import type { SystemEvent } from '../control/schema-events.ts';
import type { LocalCommand } from './command.ts';
import { colors } from './texts.ts';

export const command: LocalCommand<'events'> = {
  kind: 'local',
  name: 'events',
  async run(input, context, print) {
    const { group, since, follow = false } = verbs.events.parameters.parse(input);
    const client = new ControlClient(context.location);
    await client.events({ sinceMilliseconds: momentOf(since), follow }, (event) => {
      if (group === undefined || event.group === group) print(event, eventText(event));
    });
  },
};

/** Unix time. */
function momentOf(
  since: { readonly ago: number } | { readonly at: number } | undefined,
): number | undefined {
  if (since === undefined) return undefined;
  return 'at' in since ? since.at : Date.now() - since.ago;
}

function eventText({ time, severity, code, message, nextCommand }: SystemEvent): string {
  const named = severity === 'warning' ? colors.yellow(code) : code;
  const next = nextCommand === null ? '' : `\n  next: ${nextCommand}`;
  return `${time} ${named}: ${message}${next}`;
}
