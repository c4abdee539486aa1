/**
 * A repository's own configuration, as the server honours it: the safe list of docs/configuration.md and nothing
 * else. Defaults are git's unless said otherwise. A server option may set another default for all repositories.
 */
export type RefuseOrWarn = "refuse" | "warn" | "ignore";
export type FsckSeverity = "error" | "warn" | "ignore";

export interface RepositorySettings {
  readonly http: {
    /** undefined: allowed to authenticated callers (gitwharf: to whom access allows). */
    readonly receivePack: boolean | undefined;
    readonly uploadPack: boolean;
    readonly getAnyFile: boolean;
  };
  readonly uploadPack: {
    readonly allowTipSha1InWant: boolean;
    readonly allowReachableSha1InWant: boolean;
    readonly allowAnySha1InWant: boolean;
    /** gitwharf's default is true. */
    readonly allowFilter: boolean;
    readonly allowRefInWant: boolean;
    /** Seconds between empty band 2 packets while planning; 0 = none. @default 5 */
    readonly keepAliveSeconds: number;
    readonly advertiseBundleUris: boolean;
    /** uploadpack.hideRefs and transfer.hideRefs, in order of precedence (last match wins). */
    readonly hideRefs: readonly string[];
  };
  readonly uploadArchive: {
    /** Archives of any object by its id, not only of what refs name. */
    readonly allowUnreachable: boolean;
  };
  readonly uploadPackFilter: {
    readonly allow: boolean;
    /** By filter name: `blob:none`, `blob:limit`, `tree`, `sparse:oid`, `object:type`, `combine`. */
    readonly allowByName: ReadonlyMap<string, boolean>;
    readonly treeMaxDepth: number;
  };
  readonly transfer: { readonly advertiseSid: boolean; readonly advertiseObjectInfo: boolean };
  readonly lsRefs: { readonly unborn: "advertise" | "allow" | "ignore" };
  readonly receive: {
    readonly denyDeletes: boolean;
    readonly denyNonFastForwards: boolean;
    readonly denyCurrentBranch: RefuseOrWarn | "updateInstead";
    readonly denyDeleteCurrent: RefuseOrWarn;
    readonly advertiseAtomic: boolean;
    readonly advertisePushOptions: boolean;
    /** receive.fsckObjects, else transfer.fsckObjects. gitwharf's default is true. */
    readonly fsckObjects: boolean;
    /** receive.fsck.<msg-id>: git's camelCase id in lower case. */
    readonly fsckSeverities: ReadonlyMap<string, FsckSeverity>;
    readonly fsckSkipList: ReadonlySet<string>;
    /** Bytes; Infinity when unset or 0. */
    readonly maxInputSizeBytes: number;
    readonly certNonceSeed: string | undefined;
    readonly certNonceSlopSeconds: number;
    /** Seconds without a byte after which an empty band 2 packet is sent; 0 = never. @default 5 */
    readonly keepAliveSeconds: number;
    /** False: nothing is looked after in the background after a push. */
    readonly autoGc: boolean;
    readonly shallowUpdate: boolean;
    /** receive.procReceiveRefs: `[modifiers:]prefix` as written. */
    readonly procReceiveRefs: readonly string[];
    readonly hideRefs: readonly string[];
  };
  readonly core: {
    readonly bare: boolean;
    readonly logAllRefUpdates: "always" | "true" | "false";
    /** Mode bits added to files that are made; undefined = the process's umask decides. */
    readonly sharedRepository: "umask" | "group" | "all" | number;
  };
  readonly bundle: {
    readonly version: string | undefined;
    readonly mode: string | undefined;
    readonly heuristic: string | undefined;
    /** bundle.<id>.<key> in file order. */
    readonly entries: readonly { readonly id: string; readonly key: string; readonly value: string }[];
  };
  /** Packs above `autoPackLimit` are folded after a push; 0 in either: never. */
  readonly gc: { readonly auto: number; readonly autoPackLimit: number };
  readonly upkeep: {
    /** gc.pruneExpire: so long objects wait to which nothing leads; Infinity: never. @default two weeks */
    readonly graceMs: number;
    /** gc.packRefs; `notbare` is false in bare repositories. */
    readonly packRefs: boolean;
  };
  /** gc.writeCommitGraph; repack.writeBitmaps, by default where there is no work tree; core.multiPackIndex. */
  readonly sideFiles: {
    readonly commitGraph: boolean;
    readonly bitmap: boolean;
    readonly multiPackIndex: boolean;
  };
}
