/**
 * The safe list of a repository's own configuration, read side: each key and what it changes for who reads. The file is
 * read again when it changes, so each case sets a key in a repository that is being served, and takes it away again.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FLUSH } from "../src/protocol/wire/pkt-line.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { command, discover, postFetch, type RawRequest } from "./support/raw-fetch.js";
import { send } from "./support/raw-http.js";

let workspace: GitClient;
let repository: GitClient;
let server: TestServer;
let url: string;
let main: string;
let hiddenTip: string;
const logged: string[] = [];

beforeAll(async () => {
  workspace = createWorkspace();
  repository = await createHistory(workspace, "app.git", { commits: 6 });
  main = await repository.run("rev-parse", "main");
  hiddenTip = await repository.run("rev-parse", "refs/hidden/secret");
  server = await createTestServer({
    repositories: workspace.directory,
    log: ({ message, error }) => logged.push(`${message} ${error instanceof Error ? error.message : ""}`),
  });
  url = server.urlOf("app");
});
afterAll(async () => {
  await server.close();
  removeDirectory(workspace);
});

const said = async (version: 0 | 2, request: RawRequest): Promise<string> =>
  (await postFetch(url, version, request)).packets[0] ?? "";
const advertised = async (version: 0 | 2): Promise<string> => (await discover(url, version)).join("\n");
const statusOf = async (path: string): Promise<number> => (await send(`${url}${path}`)).status;
const fetching = (...lines: readonly string[]): RawRequest =>
  command("fetch", `want ${main}`, ...lines, "done");
const wanting = (oid: string): RawRequest => command("fetch", `want ${oid}`, "done");
const listing = async (): Promise<string> => (await postFetch(url, 2, command("ls-refs"))).packets.join("\n");

/** What is seen without the key, and with it. */
interface Case {
  readonly set: Readonly<Record<string, string>>;
  /** Set in both cases. */
  readonly given?: Readonly<Record<string, string>>;
  readonly see: () => Promise<unknown>;
  readonly before: unknown;
  readonly after: unknown;
}

const DISCOVERY = "/info/refs?service=git-upload-pack";
const HIDDEN = { "uploadpack.hideRefs": "refs/hidden" };
const refused = (oid: () => string): { asymmetricMatch(other: unknown): boolean } => ({
  asymmetricMatch: (other) => other === `ERR upload-pack: not our ref ${oid()}`,
});

const CASES: readonly Case[] = [
  { set: { "http.uploadpack": "false" }, see: () => statusOf(DISCOVERY), before: 200, after: 403 },
  {
    set: { "http.uploadpack": "false" },
    see: async () => (await postFetch(url, 2, command("ls-refs"))).status,
    before: 200,
    after: 403,
  },
  { set: { "http.getanyfile": "no" }, see: () => statusOf("/HEAD"), before: 200, after: 403 },
  { set: { "http.getanyfile": "no" }, see: () => statusOf(DISCOVERY), before: 200, after: 200 },
  {
    set: { "uploadpack.hideRefs": "refs/pull" },
    see: async () => /refs\/pull/.test(await listing()),
    before: true,
    after: false,
  },
  {
    set: { "transfer.hideRefs": "refs/heads/side" },
    see: async () => /heads\/side/.test(`${await listing()} ${await advertised(0)}`),
    before: true,
    after: false,
  },
  {
    set: { "receive.hideRefs": "refs/heads/side" },
    see: async () => /heads\/side/.test(await listing()),
    before: true,
    after: true,
  },
  {
    given: HIDDEN,
    set: { "uploadpack.allowTipSHA1InWant": "true" },
    see: () => said(2, wanting(hiddenTip)),
    before: refused(() => hiddenTip),
    after: "packfile",
  },
  {
    given: HIDDEN,
    set: { "uploadpack.allowReachableSHA1InWant": "true" },
    see: () => said(2, wanting(hiddenTip)),
    before: refused(() => hiddenTip),
    after: "packfile",
  },
  {
    given: HIDDEN,
    set: { "uploadpack.allowAnySHA1InWant": "1" },
    see: () => said(0, [`want ${hiddenTip}\n`, FLUSH, "done\n"]),
    before: refused(() => hiddenTip),
    after: "NAK",
  },
  {
    set: { "uploadpack.allowFilter": "off" },
    see: () => said(2, fetching("filter blob:none")),
    before: "packfile",
    after: expect.stringMatching(/^ERR .*filter/),
  },
  {
    set: { "uploadpackfilter.allow": "false" },
    see: () => said(2, fetching("filter blob:none")),
    before: "packfile",
    after: "ERR filter 'blob:none' not supported",
  },
  {
    set: { "uploadpackfilter.blob:none.allow": "false" },
    see: () => said(2, fetching("filter blob:none")),
    before: "packfile",
    after: "ERR filter 'blob:none' not supported",
  },
  {
    given: { "uploadpackfilter.allow": "false" },
    set: { "uploadpackfilter.tree.allow": "true" },
    see: () => said(2, fetching("filter tree:1")),
    before: "ERR filter 'tree' not supported",
    after: "packfile",
  },
  {
    set: { "uploadpackfilter.tree.maxDepth": "1" },
    see: () => said(2, fetching("filter tree:2")),
    before: "packfile",
    after: "ERR tree filter allows max depth 1, but got 2",
  },
  {
    set: { "uploadpack.allowRefInWant": "true" },
    see: () => said(2, command("fetch", "want-ref refs/heads/main", "done")),
    before: expect.stringMatching(/^ERR .*want-ref/),
    after: "wanted-refs",
  },
  {
    set: { "uploadpack.advertiseBundleURIs": "true" },
    see: () => said(2, command("bundle-uri")),
    before: "ERR invalid command 'bundle-uri'",
    after: "flush",
  },
  {
    given: { "uploadpack.advertiseBundleURIs": "true" },
    set: { "bundle.version": "1", "bundle.mode": "any", "bundle.one.uri": "one.bundle" },
    see: async () => (await postFetch(url, 2, command("bundle-uri"))).packets.join(),
    before: "flush",
    after: "bundle.version=1,bundle.mode=any,bundle.one.uri=one.bundle,flush",
  },
  {
    set: { "transfer.advertiseSID": "true" },
    see: async () => /session-id=/.test(await advertised(0)),
    before: false,
    after: true,
  },
  {
    set: { "transfer.advertiseObjectInfo": "true" },
    see: () => said(2, command("object-info", "size", `oid ${"5".repeat(40)}`)),
    before: "ERR invalid command 'object-info'",
    after: "size",
  },
  {
    set: { "lsrefs.unborn": "ignore" },
    see: async () => /ls-refs=unborn/.test(await advertised(2)),
    before: true,
    after: false,
  },
];

describe("a repository's own configuration, for reading", () => {
  for (const { set, given = {}, see, before, after } of CASES) {
    const title = Object.entries(set)
      .map(([key, value]) => `${key}=${value}`)
      .join(" ");
    it(`${title}: ${typeof after === "object" ? "refuses or allows" : String(after)}`, async () => {
      for (const [key, value] of Object.entries(given)) await repository.run("config", key, value);
      expect(await see()).toEqual(before);
      for (const [key, value] of Object.entries(set)) await repository.run("config", key, value);
      try {
        expect(await see()).toEqual(after);
      } finally {
        for (const key of Object.keys({ ...set, ...given })) await repository.run("config", "--unset", key);
      }
      // Taken away, it is as it was.
      for (const [key, value] of Object.entries(given)) await repository.run("config", key, value);
      expect(await see()).toEqual(before);
      for (const key of Object.keys(given)) await repository.run("config", "--unset", key);
    });
  }

  it("hides by the last pattern that matches, in the order of the file, with ! to show again", async () => {
    for (const value of ["refs/heads", "!refs/heads/side", "refs/tags", "!refs/tags/v"]) {
      await repository.run("config", "--add", "transfer.hideRefs", value);
    }
    try {
      const listed = await listing();
      expect(listed).toMatch(/refs\/heads\/side/);
      // A pattern is a whole name or a directory of names.
      expect(listed).not.toMatch(/refs\/heads\/main|refs\/tags/);
      expect(await statusOf("/info/refs")).toBe(403);
    } finally {
      await repository.run("config", "--unset-all", "transfer.hideRefs");
    }
  });

  it("is refused with a message where it is wrong, and served again when it is mended", async () => {
    await repository.run("config", "uploadpack.allowFilter", "perhaps");
    try {
      const answer = await send(`${url}${DISCOVERY}`);
      expect(answer.status).toBeGreaterThanOrEqual(500);
      expect(logged.join("\n")).toContain("uploadpack.allowfilter is 'perhaps', which is not true or false");
    } finally {
      await repository.run("config", "--unset", "uploadpack.allowFilter");
    }
    expect(await statusOf(DISCOVERY)).toBe(200);
  });

  it("does not read what is not on the list: include.path, the worktree's, a hook for packs", async () => {
    await repository.run("config", "-f", "extra", "uploadpack.hideRefs", "refs/heads");
    await repository.run("config", "include.path", "extra");
    await repository.run("config", "uploadpack.packObjectsHook", "false");
    try {
      expect(await listing()).toMatch(/refs\/heads\/main/);
      await workspace.run("clone", "-q", "--bare", url, "copy.git");
    } finally {
      await repository.run("config", "--unset", "include.path");
      await repository.run("config", "--unset", "uploadpack.packObjectsHook");
    }
  });

  it("has a case here, or a test of its own, for each key of docs/configuration.md that reading asks for", () => {
    const page = readFileSync(fileURLToPath(new URL("../../docs/configuration.md", import.meta.url)), "utf8");
    const seen = CASES.flatMap(({ set }) => Object.keys(set)).map((key) => key.toLowerCase());
    const documented = [
      ...page.matchAll(/`((?:http|uploadpack|uploadpackfilter|transfer|lsrefs)\.[A-Za-z0-9.<>*]+)`/gi),
    ].map(([, key = ""]) => key.toLowerCase());
    expect(documented.length).toBeGreaterThan(10);
    // Of pushing; and upload-pack-keep-alive.test.ts.
    const elsewhere = ["http.receivepack", "transfer.fsckobjects", "uploadpack.keepalive"];
    const wild = (key: string): string => key.replace(/^uploadpackfilter\.<filter>/, "uploadpackfilter.tree");
    const missing = documented.filter((key) => !seen.includes(wild(key)) && !elsewhere.includes(key));
    expect(missing).toEqual([]);
  });
});
