/** Something that is not as it must be. What does not apply is left out. */
export interface Finding {
  readonly what: string;
  /** `GROUP/VOLUME`, or the group alone. */
  readonly subject: string;
  readonly offset?: number;
  readonly length?: number;
  readonly expected?: string;
  readonly found?: string;
}

const shownMax = 12;

export function findingText(finding: Finding): string {
  const { what, subject, offset, length, expected, found } = finding;
  const place = offset === undefined ? '' : ` at ${offset} (${length ?? 0} bytes)`;
  const said = [
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(found === undefined ? [] : [`found ${found}`]),
  ];
  return `${what}: ${subject}${place}${said.length > 0 ? `: ${said.join(', ')}` : ''}`;
}

/** What a verification throws: everything that it found. */
export class CrashTestFailure extends Error {
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    const more = findings.length > shownMax ? `\n  and ${findings.length - shownMax} more` : '';
    const lines = findings.slice(0, shownMax).map((finding) => `\n  ${findingText(finding)}`);
    super(`${findings.length} findings${lines.join('')}${more}`);
    this.name = 'CrashTestFailure';
    this.findings = findings;
  }
}
