import { markdownLines } from './report.ts';

/** One thing that was measured, with what it must reach. */
export interface Finding {
  readonly id: string;
  readonly label: string;
  /** What was measured, for people. */
  readonly text: string;
  /** What the bar is about. */
  readonly value: number;
  readonly bar: Bar | null;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface Bar {
  readonly kind: 'at least' | 'at most';
  readonly value: number;
  /** With its unit. */
  readonly text: string;
}

/** `share` of the way to the bar is enough: 1, or less for a quick look. */
export function holds({ value, bar }: Finding, share: number): boolean {
  if (!bar) return true;
  return bar.kind === 'at least' ? value >= bar.value * share : value <= bar.value / share;
}

export function findingsTable(findings: readonly Finding[]): string {
  return markdownLines([
    ['', 'measured', 'bar'],
    ['---', '---', '---'],
    ...findings.map((finding) => {
      const { label, text, bar } = finding;
      if (!bar) return [label, text, '-'];
      return [label, text, `${bar.kind} ${bar.text}${holds(finding, 1) ? '' : ': missed'}`];
    }),
  ]);
}

export function megabytesText(bytes: number, seconds: number): string {
  return `${(bytes / seconds / 1e6).toFixed(0)} MB/s`;
}
