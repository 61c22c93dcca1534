/**
 * Every verb and what it does: known without the schemas themselves, which cost time to load.
 * `schema.ts` has one definition for each.
 */
export const verbSummaries = {
  serve: 'run a system: serve the volumes of a data directory over NBD',
  status: 'show groups, volumes, clients, and what is not as it should be',
  version: 'show the versions of this program and of the daemon',
  'group create': 'create a consistency group: volumes with one journal and one write order',
  'group list': 'list the groups',
  'group show': 'show one group',
  'group configure': 'change the settings of a group',
  'group delete': 'delete a group and its journal',
  'volume create': 'create a volume, empty or with the contents of a file or an NBD export',
  'volume list': 'list the volumes',
  'volume show': 'show one volume and how to reach it',
  'volume resize': 'grow a volume',
  'volume configure': 'change the settings of a volume',
  'volume delete': 'delete a volume and its data',
  'pki init': 'make an authority, which certificates of systems are signed by',
  'pki issue': 'make a certificate for a system, as server and as client',
  follow: 'follow a group of another system: copy it, keep up with it; or switch to another source',
  unfollow: 'follow no more; what was copied stays',
  suspend: 'stop receiving for now',
  resume: 'receive again',
  promote: 'make this system the primary of a group that it follows',
  demote: 'make a primary without hosts a secondary, which can follow another system then',
  handoff: 'make a follower the primary, lose nothing, and follow it from then on',
  'branch list': 'list what this system had that the history of a group has not',
  'branch export': 'copy a branch to a directory that journal inspect reads',
  'branch delete': 'delete a branch',
  'secondary list': 'list the systems that follow a group, and those that may',
  'secondary allow': 'let a system of another machine follow a group',
  'secondary add': 'bring a system to follow a group: set up both sides from here',
  'secondary remove':
    'keep nothing for a follower any more, tell it so, and do not let it come back',
  'cut create': 'begin a series of markers over groups of several systems',
  'cut mark': 'make a marker of a cut now, or at a time',
  'cut status': 'show cuts: markers, members, and how far their target lists are',
  'cut promote': 'make all secondaries of a target list primary at the same marker, or none',
  'cut delete': 'end a cut; markers in journals stay, and nothing is held any more',
  'snapshot create': 'keep all volumes of a group as they are at this instant',
  'snapshot list': 'list the snapshots of a group and what they keep',
  'snapshot delete': 'delete a snapshot and give back what only it needs',
  wait: 'wait until a group has come to something',
  events: 'show what happened since the daemon started, or as it happens',
} as const;

export type VerbName = keyof typeof verbSummaries;
