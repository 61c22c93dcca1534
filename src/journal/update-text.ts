/** Update numbers from `from` on, `through` included, as people read them. */
export function updatesText(from: number, through: number): string {
  return from === through ? `update ${from}` : `updates ${from} to ${through}`;
}

export function updatesWereText(from: number, through: number): string {
  return `${updatesText(from, through)} ${from === through ? 'was' : 'were'}`;
}

export function notDurableText(durable: number, newest: number): string {
  if (newest <= durable) return 'every update is durable';
  return `${updatesText(durable + 1, newest)} ${newest === durable + 1 ? 'is' : 'are'} not durable`;
}
