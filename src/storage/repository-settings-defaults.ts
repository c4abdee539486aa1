/** The settings of a repository that configures nothing. Git's defaults unless said otherwise. */
import type { RepositorySettings } from "./contracts/repository-settings.js";

export const DEFAULT_REPOSITORY_SETTINGS: RepositorySettings = {
  http: { receivePack: undefined, uploadPack: true, getAnyFile: true },
  uploadPack: {
    allowTipSha1InWant: false,
    allowReachableSha1InWant: false,
    allowAnySha1InWant: false,
    // Differs from git: partial clones work without being switched on.
    allowFilter: true,
    allowRefInWant: false,
    keepAliveSeconds: 5,
    advertiseBundleUris: false,
    hideRefs: [],
  },
  uploadArchive: { allowUnreachable: false },
  uploadPackFilter: { allow: true, allowByName: new Map(), treeMaxDepth: Number.POSITIVE_INFINITY },
  transfer: { advertiseSid: false, advertiseObjectInfo: false },
  lsRefs: { unborn: "advertise" },
  receive: {
    denyDeletes: false,
    denyNonFastForwards: false,
    denyCurrentBranch: "refuse",
    denyDeleteCurrent: "refuse",
    advertiseAtomic: true,
    advertisePushOptions: false,
    // Differs from git: malformed objects are refused unless the repository says otherwise.
    fsckObjects: true,
    fsckSeverities: new Map(),
    fsckSkipList: new Set(),
    maxInputSizeBytes: Number.POSITIVE_INFINITY,
    certNonceSeed: undefined,
    certNonceSlopSeconds: 0,
    keepAliveSeconds: 5,
    autoGc: true,
    shallowUpdate: false,
    procReceiveRefs: [],
    hideRefs: [],
  },
  core: { bare: true, logAllRefUpdates: "false", sharedRepository: "umask" },
  bundle: { version: undefined, mode: undefined, heuristic: undefined, entries: [] },
  gc: { auto: 6700, autoPackLimit: 50 },
  upkeep: { graceMs: 14 * 24 * 60 * 60 * 1000, packRefs: true },
  sideFiles: { commitGraph: true, bitmap: true, multiPackIndex: true },
};
