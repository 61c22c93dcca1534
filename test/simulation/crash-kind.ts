/** How a life of the daemon ends: SIGKILL, the machine's power, SIGTERM. */
export type CrashKind = 'kill' | 'power' | 'stop';
