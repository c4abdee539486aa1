/**
 * Every limit on what one peer may make the server do: unit in the name, default here, described in
 * `docs/limits.md`, tested at the limit and one past it. `Infinity` lifts a limit; 0 means none are allowed.
 */
export interface Limits {
  /** Bytes of one pushed pack as it arrives. @default 2 GiB */
  readonly packSizeBytesMax: number;
  /** Objects in one pushed pack. @default 10,000,000 */
  readonly packObjectsMax: number;
  /**
   * Objects of all packs that are being received together, beyond the first 10,000 of each; a push that does not fit is
   * told to come again. @default 20,000,000
   */
  readonly packObjectsTotalMax: number;
  /** Inflated bytes of one object that is pushed, and of one file in an archive or a checkout. @default 512 MiB */
  readonly objectSizeBytesMax: number;
  /** Inflated bytes of all objects of one pushed pack, deltas resolved. @default 64 GiB */
  readonly inflatedTotalBytesMax: number;
  /** Longest chain of deltas in a pushed pack. @default 4,096 (git's own writer stays under 4,095) */
  readonly deltaDepthMax: number;
  /** Ref updates of one push. @default 100,000 */
  readonly commandsMax: number;
  /** Bytes of all commands, shallow lines and push options of one push. @default 64 MiB */
  readonly commandBytesMax: number;
  /** Push options of one push. @default 1,000 */
  readonly pushOptionsMax: number;
  /** Bytes of a push certificate, its signature included. @default 16 MiB */
  readonly certificateBytesMax: number;
  /** Wants of one fetch. @default 200,000 */
  readonly wantsMax: number;
  /** Haves of one fetch request. @default 1,000,000 */
  readonly havesMax: number;
  /** Bytes of one fetch or ls-refs request after gunzip. @default 16 MiB */
  readonly requestBytesMax: number;
  /**
   * Bytes of all requests at work together, commands of pushes included, beyond the first 64 KiB of each; those that do
   * not fit are told to come again (503). @default 256 MiB
   */
  readonly requestBytesTotalMax: number;
  /** Nested filters in a `combine:`. @default 16 */
  readonly filterDepthMax: number;
  /** Entries of the trees that one archive walks. @default 1,000,000 */
  readonly archiveEntriesMax: number;
  /** Bytes of the files in one archive. @default 16 GiB */
  readonly archiveSizeBytesMax: number;
  /** Time for the request head to arrive, or the request of git://. @default 30,000 */
  readonly headerTimeoutMs: number;
  /** Time without a byte moving in either direction. @default 120,000 */
  readonly idleTimeoutMs: number;
  /** Time for a callback (`authenticate`, `authorize`, policies, …) to answer. @default 30,000 */
  readonly decisionTimeoutMs: number;
  /** Requests that work on one repository at once; more wait in the queue. @default 64 */
  readonly repositoryConcurrencyMax: number;
  /** Requests that wait for one repository; more are told to come again (503). @default 512 */
  readonly repositoryQueueMax: number;
  /** Requests that work or wait in all repositories together; more are told to come again (503). @default 4,096 */
  readonly requestsMax: number;
  /** Open connections of one address that is listened on; more are closed at once. @default 10,000 */
  readonly connectionsMax: number;
  /** Time from the first byte of an SSH connection to being signed in. @default 60,000 */
  readonly sshLoginTimeoutMs: number;
  /** Failed attempts to sign in on one SSH connection. @default 10 */
  readonly sshAttemptsMax: number;
  /** SSH connections that are not signed in yet; for one more, the oldest of them is closed. @default 200 */
  readonly sshStartupsMax: number;
  /** Sessions that are open at once on one SSH connection. @default 10 */
  readonly sshSessionsMax: number;
  /** Silence after which an SSH client is asked whether it is there; three questions without an answer end it. @default 15,000 */
  readonly sshKeepAliveMs: number;
  /** Bytes that move on an SSH connection before its keys are exchanged anew. @default 32 GiB */
  readonly sshKeyBytesMax: number;
}

const MiB = 1024 * 1024;

export const DEFAULT_LIMITS: Limits = {
  packSizeBytesMax: 2048 * MiB,
  packObjectsMax: 10_000_000,
  packObjectsTotalMax: 20_000_000,
  objectSizeBytesMax: 512 * MiB,
  inflatedTotalBytesMax: 64 * 1024 * MiB,
  deltaDepthMax: 4096,
  commandsMax: 100_000,
  commandBytesMax: 64 * MiB,
  pushOptionsMax: 1000,
  certificateBytesMax: 16 * MiB,
  wantsMax: 200_000,
  havesMax: 1_000_000,
  requestBytesMax: 16 * MiB,
  requestBytesTotalMax: 256 * MiB,
  filterDepthMax: 16,
  archiveEntriesMax: 1_000_000,
  archiveSizeBytesMax: 16 * 1024 * MiB,
  headerTimeoutMs: 30_000,
  idleTimeoutMs: 120_000,
  decisionTimeoutMs: 30_000,
  repositoryConcurrencyMax: 64,
  repositoryQueueMax: 512,
  requestsMax: 4096,
  connectionsMax: 10_000,
  sshLoginTimeoutMs: 60_000,
  sshAttemptsMax: 10,
  sshStartupsMax: 200,
  sshSessionsMax: 10,
  sshKeepAliveMs: 15_000,
  sshKeyBytesMax: 32 * 1024 * MiB,
};

/** Of packs that were taken before, or that the operator has: they are as large as they are. */
export const NO_PACK_LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  packSizeBytesMax: Infinity,
  packObjectsMax: Infinity,
  packObjectsTotalMax: Infinity,
  inflatedTotalBytesMax: Infinity,
  objectSizeBytesMax: Infinity,
  deltaDepthMax: Infinity,
};
