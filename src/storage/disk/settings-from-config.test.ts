import { describe, expect, it } from "vitest";
import type { RepositorySettings } from "../contracts/repository-settings.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../repository-settings-defaults.js";
import { GitConfig } from "./git-config-values.js";
import { parseSkipList, settingsFromConfig } from "./settings-from-config.js";

function settings(text: string, looksBare = true): RepositorySettings {
  return settingsFromConfig({ config: GitConfig.parse(text), looksBare, fsckSkipList: () => new Set() });
}

describe("settingsFromConfig", () => {
  it("gives the defaults to an empty config", () => {
    expect(settings("")).toEqual(DEFAULT_REPOSITORY_SETTINGS);
  });

  it("takes both sections of hideRefs in the order of the file", () => {
    const { uploadPack, receive } = settings(
      "[transfer]\n\thideRefs = refs/a/\n[uploadpack]\n\thideRefs = !refs/a/b\n[receive]\n\thideRefs = ^refs/c//\n[transfer]\n\thideRefs = refs/d\n",
    );
    expect(uploadPack.hideRefs).toEqual(["refs/a", "!refs/a/b", "refs/d"]);
    expect(receive.hideRefs).toEqual(["refs/a", "^refs/c", "refs/d"]);
  });

  it("reads what receive denies", () => {
    expect(settings("[receive]\n\tdenyCurrentBranch = updateInstead\n").receive.denyCurrentBranch).toBe(
      "updateInstead",
    );
    expect(settings("[receive]\n\tdenyCurrentBranch = false\n").receive.denyCurrentBranch).toBe("ignore");
    expect(settings("[receive]\n\tdenyCurrentBranch\n").receive.denyCurrentBranch).toBe("refuse");
    expect(settings("[receive]\n\tdenyDeleteCurrent = Warn\n").receive.denyDeleteCurrent).toBe("warn");
    expect(() => settings("[receive]\n\tdenyCurrentBranch = perhaps\n").receive).toThrow(/denycurrentbranch/);
  });

  it.each<[string, number]>([
    ["2.weeks.ago", 14 * 24 * 60 * 60 * 1000],
    ["1 hour ago", 60 * 60 * 1000],
    ["90.Seconds.ago", 90_000],
    ["now", 0],
    ["never", Infinity],
  ])("reads gc.pruneExpire = %s", (value, graceMs) => {
    expect(settings(`[gc]\n\tpruneExpire = ${value}\n`).upkeep.graceMs).toBe(graceMs);
  });

  it("refuses a gc.pruneExpire that is not understood, since objects would go by it", () => {
    for (const value of ["yesterday", "2020-01-01", "weeks", "2.weeks", "-1.days.ago", "0x1.days.ago"])
      expect(() => settings(`[gc]\n\tpruneExpire = ${value}\n`).upkeep, value).toThrow(/pruneExpire/);
  });

  it("knows where refs are packed", () => {
    expect(settings("[gc]\n\tpackRefs = false\n").upkeep.packRefs).toBe(false);
    expect(settings("[gc]\n\tpackRefs = notbare\n").upkeep.packRefs).toBe(false);
    expect(settings("[gc]\n\tpackRefs = notbare\n", false).upkeep.packRefs).toBe(true);
  });

  it("prefers receive.fsckObjects to transfer.fsckObjects", () => {
    expect(settings("").receive.fsckObjects).toBe(true);
    expect(settings("[transfer]\n\tfsckObjects = false\n").receive.fsckObjects).toBe(false);
    expect(
      settings("[receive]\n\tfsckObjects = true\n[transfer]\n\tfsckObjects = false\n").receive.fsckObjects,
    ).toBe(true);
  });

  it("reads severities by their lower-case ids", () => {
    const { fsckSeverities } = settings(
      '[receive "fsck"]\n\tmissingEmail = ignore\n\tbadTimezone = WARN\n\tskipList = x\n',
    ).receive;
    expect([...fsckSeverities]).toEqual([
      ["missingemail", "ignore"],
      ["badtimezone", "warn"],
    ]);
    expect(() => settings('[receive "fsck"]\n\tmissingEmail = loud\n').receive).toThrow(/loud/);
  });

  it("reads filters", () => {
    const { uploadPackFilter } = settings(
      '[uploadpackfilter]\n\tallow = false\n[uploadpackfilter "blob:none"]\n\tallow\n[uploadpackfilter "tree"]\n\tmaxDepth = 3\n',
    );
    expect(uploadPackFilter.allow).toBe(false);
    expect([...uploadPackFilter.allowByName]).toEqual([
      ["blob:none", true],
      ["tree", true],
    ]);
    expect(uploadPackFilter.treeMaxDepth).toBe(3);
  });

  it("takes no limit for 0", () => {
    expect(settings("[receive]\n\tmaxInputSize = 0\n").receive.maxInputSizeBytes).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(settings("[receive]\n\tmaxInputSize = 2m\n").receive.maxInputSizeBytes).toBe(2 * 1024 * 1024);
  });

  it.each([
    ["", "umask"],
    ["true", "group"],
    ["false", "umask"],
    ["group", "group"],
    ["0", "umask"],
    ["1", "group"],
    ["2", "all"],
    ["world", "all"],
    ["everybody", "all"],
    ["0640", 0o640],
    ["0666", 0o666],
    ["0777", 0o666],
  ])("core.sharedRepository = %j", (value, expected) => {
    const text = value === "" ? "" : `[core]\n\tsharedRepository = ${value}\n`;
    expect(settings(text).core.sharedRepository).toBe(expected);
  });

  it("refuses a core.sharedRepository that locks the owner out", () => {
    expect(() => settings("[core]\n\tsharedRepository = 0400\n")).toThrow(/owner/);
    expect(() => settings("[core]\n\tsharedRepository = nonsense\n")).toThrow(/nonsense/);
  });

  it("keeps reflogs where git would", () => {
    expect(settings("", true).core).toMatchObject({ bare: true, logAllRefUpdates: "false" });
    expect(settings("", false).core).toMatchObject({ bare: false, logAllRefUpdates: "true" });
    expect(settings("[core]\n\tbare = false\n").core.logAllRefUpdates).toBe("true");
    expect(settings("[core]\n\tlogAllRefUpdates = always\n").core.logAllRefUpdates).toBe("always");
    expect(settings("[core]\n\tlogAllRefUpdates\n").core.logAllRefUpdates).toBe("true");
  });

  it("keeps bundles in the order of the file", () => {
    const { bundle } = settings(
      '[bundle]\n\tversion = 1\n\tmode = all\n[bundle "B"]\n\turi = https://b\n[bundle "a"]\n\turi = https://a\n\tcreationToken = 1\n',
    );
    expect(bundle).toEqual({
      version: "1",
      mode: "all",
      heuristic: undefined,
      entries: [
        { id: "B", key: "uri", value: "https://b" },
        { id: "a", key: "uri", value: "https://a" },
        { id: "a", key: "creationtoken", value: "1" },
      ],
    });
  });

  it("reads the rest", () => {
    const all = settings(
      "[http]\n\treceivepack = false\n\tuploadpack = false\n\tgetanyfile = false\n" +
        "[uploadpack]\n\tallowTipSHA1InWant\n\tallowReachableSHA1InWant\n\tallowAnySHA1InWant\n\tallowFilter = no\n\tallowRefInWant\n\tkeepAlive = 0\n\tadvertiseBundleURIs\n" +
        "[transfer]\n\tadvertiseSID\n\tadvertiseObjectInfo\n[lsrefs]\n\tunborn = Ignore\n" +
        "[receive]\n\tadvertiseAtomic = 0\n\tadvertisePushOptions\n\tcertNonceSeed = s\n\tcertNonceSlop = 60\n\tshallowUpdate\n\tprocReceiveRefs = ad:refs/for\n\tprocReceiveRefs = refs/x\n\tdenyDeletes\n\tdenyNonFastForwards\n\tautogc = no\n" +
        "[gc]\n\tauto = 0\n\tautoPackLimit = 10\n",
    );
    expect(all.http).toEqual({ receivePack: false, uploadPack: false, getAnyFile: false });
    expect(all.uploadPack).toMatchObject({
      allowTipSha1InWant: true,
      allowReachableSha1InWant: true,
      allowAnySha1InWant: true,
      allowFilter: false,
      allowRefInWant: true,
      keepAliveSeconds: 0,
      advertiseBundleUris: true,
    });
    expect(all.transfer).toEqual({ advertiseSid: true, advertiseObjectInfo: true });
    expect(all.lsRefs.unborn).toBe("ignore");
    expect(all.receive).toMatchObject({
      advertiseAtomic: false,
      advertisePushOptions: true,
      certNonceSeed: "s",
      certNonceSlopSeconds: 60,
      shallowUpdate: true,
      procReceiveRefs: ["ad:refs/for", "refs/x"],
      denyDeletes: true,
      denyNonFastForwards: true,
      autoGc: false,
    });
    expect(all.gc).toEqual({ auto: 0, autoPackLimit: 10 });
  });
});

describe("parseSkipList", () => {
  it("takes one id a line, comments aside", () => {
    const oid = "ab".repeat(20);
    expect([
      ...parseSkipList(Buffer.from(`# all of these\n${oid.toUpperCase()} # known\n\n  ${"cd".repeat(20)}\n`)),
    ]).toEqual([oid, "cd".repeat(20)]);
  });
});
