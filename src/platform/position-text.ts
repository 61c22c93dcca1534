/** `NUMBER`, `GENERATION:NUMBER`, a time as of RFC 3339, or `-10m`. */
export const positionPattern =
  /^(\d{1,15}|\d{1,9}:\d{1,15}|-\d+(\.\d+)?(ms|s|m|h)|\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))$/;

/** `snapshot:NAME`, `marker:CUT` or `marker:CUT.EPOCH.SEQUENCE`. */
export const namedPosition = /^(?<kind>snapshot|marker):(?<name>[A-Za-z0-9][A-Za-z0-9._-]{0,96})$/;
