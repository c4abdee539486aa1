/**
 * The safe list: which keys of a repository's own config the server honours, and how. A value that is none hinders, as
 * with git, only what asks for it: fetches go on past a bad `receive.*`, pushes past a bad `uploadpack.*`.
 * Specification: git-config; docs/configuration.md lists the keys.
 */
import { isFsckMessageId } from "../../object/fsck/fsck-message.js";
import type { FsckSeverity, RefuseOrWarn, RepositorySettings } from "../contracts/repository-settings.js";
import { DEFAULT_REPOSITORY_SETTINGS as DEFAULTS } from "../repository-settings-defaults.js";
import { badSetting, type GitConfig, parseBoolean } from "./git-config-values.js";

export interface SettingsSource {
  readonly config: GitConfig;
  /** What the directory looks like, for when `core.bare` is not set. */
  readonly looksBare: boolean;
  /** What the file that `receive.fsck.skipList` names says. @throws when it cannot be read */
  readonly fsckSkipList: () => ReadonlySet<string>;
}

/**
 * @throws storage/bad-config with the key that is wrong; reading `receive`, `uploadPack`, `uploadPackFilter`, `lsRefs`,
 *   `gc`, `upkeep`, `sideFiles`, `uploadArchive.allowUnreachable` or `transfer.advertiseObjectInfo` of what is returned throws the same, and for `receive` storage/io
 */
export function settingsFromConfig(source: SettingsSource): RepositorySettings {
  const { config } = source;
  const bare = config.boolean("core.bare") ?? source.looksBare;
  const uploadPack = once(() => uploadPackSettings(config));
  const uploadPackFilter = once(() => filterSettings(config));
  const lsRefs = once(() => lsRefsSettings(config));
  const receive = once(() => receiveSettings(source));
  const gc = once(() => gcSettings(config));
  return {
    http: {
      receivePack: config.boolean("http.receivepack"),
      uploadPack: config.boolean("http.uploadpack") ?? DEFAULTS.http.uploadPack,
      getAnyFile: config.boolean("http.getanyfile") ?? DEFAULTS.http.getAnyFile,
    },
    get uploadPack() {
      return uploadPack();
    },
    uploadArchive: {
      get allowUnreachable() {
        return config.boolean("uploadarchive.allowunreachable") ?? false;
      },
    },
    get uploadPackFilter() {
      return uploadPackFilter();
    },
    transfer: {
      advertiseSid: config.boolean("transfer.advertisesid") ?? false,
      get advertiseObjectInfo() {
        return config.boolean("transfer.advertiseobjectinfo") ?? false;
      },
    },
    get lsRefs() {
      return lsRefs();
    },
    get receive() {
      return receive();
    },
    core: {
      bare,
      logAllRefUpdates: logAllRefUpdates(config, bare),
      sharedRepository: sharedRepository(config),
    },
    bundle: {
      version: config.text("bundle.version"),
      mode: config.text("bundle.mode"),
      heuristic: config.text("bundle.heuristic"),
      entries: config.entries.flatMap(({ section, subsection: id, key, value }) =>
        section === "bundle" && id !== undefined && value !== undefined ? [{ id, key, value }] : [],
      ),
    },
    get gc() {
      return gc();
    },
    get upkeep() {
      return {
        graceMs: graceMs(config.text("gc.pruneexpire")),
        packRefs:
          config.text("gc.packrefs")?.toLowerCase() === "notbare"
            ? !bare
            : (config.boolean("gc.packrefs") ?? DEFAULTS.upkeep.packRefs),
      };
    },
    get sideFiles() {
      return {
        commitGraph: config.boolean("gc.writecommitgraph") ?? DEFAULTS.sideFiles.commitGraph,
        bitmap: config.boolean("repack.writebitmaps") ?? bare,
        multiPackIndex: config.boolean("core.multipackindex") ?? DEFAULTS.sideFiles.multiPackIndex,
      };
    },
  };
}

/** Made when it is asked for, and then the same. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

function uploadPackSettings(config: GitConfig): RepositorySettings["uploadPack"] {
  return {
    allowTipSha1InWant: config.boolean("uploadpack.allowtipsha1inwant") ?? false,
    allowReachableSha1InWant: config.boolean("uploadpack.allowreachablesha1inwant") ?? false,
    allowAnySha1InWant: config.boolean("uploadpack.allowanysha1inwant") ?? false,
    allowFilter: config.boolean("uploadpack.allowfilter") ?? DEFAULTS.uploadPack.allowFilter,
    allowRefInWant: config.boolean("uploadpack.allowrefinwant") ?? false,
    keepAliveSeconds: config.integer("uploadpack.keepalive") ?? DEFAULTS.uploadPack.keepAliveSeconds,
    advertiseBundleUris: config.boolean("uploadpack.advertisebundleuris") ?? false,
    hideRefs: hideRefs(config, "uploadpack"),
  };
}

function lsRefsSettings(config: GitConfig): RepositorySettings["lsRefs"] {
  return {
    unborn: config.oneOf("lsrefs.unborn", ["advertise", "allow", "ignore"]) ?? DEFAULTS.lsRefs.unborn,
  };
}

function gcSettings(config: GitConfig): RepositorySettings["gc"] {
  return {
    auto: config.integer("gc.auto") ?? DEFAULTS.gc.auto,
    autoPackLimit: config.integer("gc.autopacklimit") ?? DEFAULTS.gc.autoPackLimit,
  };
}

const SECOND_MS = 1000;
const DAY_MS = 24 * 60 * 60 * SECOND_MS;
const UNITS_MS: Readonly<Record<string, number>> = {
  second: SECOND_MS,
  minute: 60 * SECOND_MS,
  hour: 60 * 60 * SECOND_MS,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 30 * DAY_MS,
  year: 365 * DAY_MS,
};

/** `2.weeks.ago`, `now`, `never`. Dates that git takes besides are refused: who errs here loses objects. @throws storage/bad-config */
function graceMs(text: string | undefined): number {
  const word = text?.toLowerCase();
  if (word === undefined) return DEFAULTS.upkeep.graceMs;
  if (word === "never" || word === "false") return Number.POSITIVE_INFINITY;
  if (word === "now" || word === "all") return 0;
  const match = /^(\d{1,6})[. ]?(second|minute|hour|day|week|month|year)s?[. ]ago$/.exec(word);
  const unit = UNITS_MS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw badSetting(`gc.pruneExpire is '${word.slice(0, 200)}', which is not N.days.ago, now or never`);
  return Number(match[1]) * unit;
}

function receiveSettings({ config, fsckSkipList }: SettingsSource): RepositorySettings["receive"] {
  const maxInputSizeBytes = config.integer("receive.maxinputsize") ?? 0;
  return {
    denyDeletes: config.boolean("receive.denydeletes") ?? false,
    denyNonFastForwards: config.boolean("receive.denynonfastforwards") ?? false,
    denyCurrentBranch: denyAction(config, "receive.denycurrentbranch"),
    denyDeleteCurrent: withoutUpdate(denyAction(config, "receive.denydeletecurrent")),
    advertiseAtomic: config.boolean("receive.advertiseatomic") ?? true,
    advertisePushOptions: config.boolean("receive.advertisepushoptions") ?? false,
    fsckObjects:
      config.boolean("receive.fsckobjects") ??
      config.boolean("transfer.fsckobjects") ??
      DEFAULTS.receive.fsckObjects,
    fsckSeverities: fsckSeverities(config),
    fsckSkipList: fsckSkipList(),
    maxInputSizeBytes: maxInputSizeBytes > 0 ? maxInputSizeBytes : Number.POSITIVE_INFINITY,
    certNonceSeed: config.text("receive.certnonceseed"),
    certNonceSlopSeconds: config.integer("receive.certnonceslop") ?? 0,
    keepAliveSeconds: config.integer("receive.keepalive") ?? DEFAULTS.receive.keepAliveSeconds,
    autoGc: config.boolean("receive.autogc") ?? true,
    shallowUpdate: config.boolean("receive.shallowupdate") ?? false,
    procReceiveRefs: config.all("receive.procreceiverefs").filter((prefix) => prefix !== ""),
    hideRefs: hideRefs(config, "receive"),
  };
}

/** Both sections together in the order of the file, as git reads them. */
function hideRefs(config: GitConfig, section: "uploadpack" | "receive"): string[] {
  return config.entries.flatMap(({ name, value }) =>
    (name === "transfer.hiderefs" || name === `${section}.hiderefs`) && value !== undefined
      ? [value.replace(/\/+$/, "")]
      : [],
  );
}

function filterSettings(config: GitConfig): RepositorySettings["uploadPackFilter"] {
  const allowByName = new Map<string, boolean>();
  let treeMaxDepth = DEFAULTS.uploadPackFilter.treeMaxDepth;
  for (const { section, subsection, key, name } of config.entries) {
    if (section !== "uploadpackfilter" || subsection === undefined) continue;
    if (key === "allow") allowByName.set(subsection, config.boolean(name) ?? true);
    if (key === "maxdepth" && subsection === "tree") {
      allowByName.set(subsection, true);
      treeMaxDepth = config.integer(name) ?? treeMaxDepth;
    }
  }
  return { allow: config.boolean("uploadpackfilter.allow") ?? true, allowByName, treeMaxDepth };
}

function denyAction(config: GitConfig, name: string): RefuseOrWarn | "updateInstead" {
  if (!config.has(name)) return "refuse";
  const value = config.text(name)?.toLowerCase();
  if (value === "ignore" || value === "warn" || value === "refuse") return value;
  if (value === "updateinstead") return "updateInstead";
  return config.boolean(name) === true ? "refuse" : "ignore";
}

function withoutUpdate(action: RefuseOrWarn | "updateInstead"): RefuseOrWarn {
  return action === "updateInstead" ? "refuse" : action;
}

function fsckSeverities(config: GitConfig): ReadonlyMap<string, FsckSeverity> {
  const severities = new Map<string, FsckSeverity>();
  for (const { section, subsection, key, name } of config.entries) {
    if (section !== "receive" || subsection !== "fsck" || key === "skiplist") continue;
    // An id that does not exist is skipped, whatever it is set to.
    const severity = isFsckMessageId(key) ? config.oneOf(name, ["error", "warn", "ignore"]) : undefined;
    severities.set(key, severity ?? "error");
  }
  return severities;
}

/** The file that `receive.fsck.skipList` names: one object id a line, `#` comments. */
export function parseSkipList(bytes: Buffer): ReadonlySet<string> {
  const oids = new Set<string>();
  for (const line of bytes.toString("latin1").split("\n")) {
    const oid = line.replace(/#.*/, "").trim();
    if (oid !== "") oids.add(oid.toLowerCase());
  }
  return oids;
}

function logAllRefUpdates(config: GitConfig, bare: boolean): "always" | "true" | "false" {
  if (!config.has("core.logallrefupdates")) return bare ? "false" : "true";
  if (config.text("core.logallrefupdates")?.toLowerCase() === "always") return "always";
  return config.boolean("core.logallrefupdates") === true ? "true" : "false";
}

function sharedRepository(config: GitConfig): RepositorySettings["core"]["sharedRepository"] {
  const name = "core.sharedrepository";
  if (!config.has(name)) return "umask";
  const value = config.text(name);
  if (value === undefined || value === "group" || value === "1") return "group";
  if (value === "umask" || value === "0") return "umask";
  if (["all", "world", "everybody", "2"].includes(value)) return "all";
  if (/^[0-7]+$/.test(value)) {
    const mode = Number.parseInt(value, 8);
    if ((mode & 0o600) !== 0o600) {
      throw badSetting(`core.sharedRepository '${value}' takes reading and writing from the owner`);
    }
    return mode & 0o666;
  }
  const shared = parseBoolean(value);
  if (shared === undefined) config.boolean(name);
  return shared === true ? "group" : "umask";
}
