/**
 * Fetching with the real client, over one connection and over requests of HTTP, in every version of the protocol.
 * The judge is git's own upload-pack: after the same commands both clients have the same.
 */
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { createHistory, FIRST_COMMIT_SECONDS, SECONDS_BETWEEN_COMMITS } from "./support/history.js";
import { startUploadPackServer, type UploadPackServer } from "./support/upload-pack-server.js";

type Connection = "http" | "git";

const VERSIONS = [0, 1, 2] as const;
const at = (commit: number): number => FIRST_COMMIT_SECONDS + commit * SECONDS_BETWEEN_COMMITS;

let origin: GitClient;
let server: UploadPackServer;
let backend: GitHttpBackend;

beforeAll(async () => {
  origin = createWorkspace();
  for (const objectFormat of ["sha1", "sha256"] as const) {
    const repository = await createHistory(origin, `${objectFormat}.git`, { objectFormat });
    await repository.run("config", "uploadpack.allowFilter", "true");
    // What gitwharf allows by default in v2 and over HTTP.
    await repository.run("config", "uploadpack.allowReachableSHA1InWant", "true");
  }
  await origin.in("sha1.git").run("repack", "-adq");
  server = await startUploadPackServer({ root: origin.directory });
  backend = await startGitHttpBackend(origin.directory);
});
afterAll(async () => {
  expect(server.crashes).toEqual([]);
  await server.close();
  await backend.close();
  removeDirectory(origin);
});

/** Everything that a client has after fetching. */
async function stateOf(client: GitClient): Promise<Record<string, string>> {
  const [walk, about, boundary, refs] = await Promise.all([
    client.try("rev-list", "--objects", "--all", "--missing=print", "--no-object-names"),
    client.try("rev-parse", "--is-shallow-repository", "HEAD"),
    client.try("rev-list", "--all", "--max-parents=0"),
    client.run("for-each-ref", "--format=%(refname) %(objectname) %(symref)"),
  ]);
  // Without the commits between (object:type) there is nothing to walk.
  const objects =
    walk.status === 0 ? walk.stdout : await client.run("cat-file", "--batch-all-objects", "--batch-check");
  return {
    refs,
    objects: objects.split("\n").toSorted().join("\n"),
    about: about.stdout,
    boundary: boundary.stdout.split("\n").toSorted().join("\n"),
  };
}

type Scenario = (client: GitClient, url: string, protocol: readonly string[]) => Promise<void>;

/** Steps of a client, each with `-c protocol.version` in front; the first makes `copy`. */
const SCENARIOS: Record<string, Scenario> = {
  "a mirror": async (w, url, p) => void (await w.run(...p, "clone", "-q", "--mirror", url, "copy")),
  "a clone": async (w, url, p) => void (await w.run(...p, "clone", "-q", url, "copy")),
  "a clone of one branch without tags": async (w, url, p) =>
    void (await w.run(...p, "clone", "-q", "--single-branch", "-b", "side", "--no-tags", url, "copy")),
  "a branch, then its tags, then everything": async (w, url, p) => {
    await w.run("init", "-q", `--object-format=${formatOf(url)}`, "copy");
    await w.in("copy").run("remote", "add", "origin", url);
    await w.in("copy").run(...p, "fetch", "-q", "origin", "side");
    await w.in("copy").run(...p, "fetch", "-q", "origin", "tag", "v19");
    await w.in("copy").run(...p, "fetch", "-q", "origin", "main:fetched");
    await w.in("copy").run(...p, "fetch", "-q", "origin", "refs/*:refs/*", "--update-head-ok");
  },
  "two ids": async (w, url, p) => {
    await w.run("init", "-q", `--object-format=${formatOf(url)}`, "copy");
    const repository = origin.in(`${formatOf(url)}.git`);
    const [tip, older] = [
      await repository.run("rev-parse", "main"),
      await repository.run("rev-parse", "main~3"),
    ];
    await w.in("copy").run(...p, "fetch", "-q", url, `${older}:refs/heads/older`);
    await w.in("copy").run(...p, "fetch", "-q", url, `${tip}:refs/heads/tip`);
  },
  "depth 1, deeper by two, depth 9, everything": async (w, url, p) => {
    await w.run(...p, "clone", "-q", "--depth=1", url, "copy");
    for (const how of ["--deepen=2", "--depth=9", "--unshallow"]) {
      await w.in("copy").run(...p, "fetch", "-q", how);
    }
  },
  "depth 3 of all branches, then a shallow fetch that does not deepen": async (w, url, p) => {
    await w.run(...p, "clone", "-q", "--depth=3", "--no-single-branch", url, "copy");
    await w.in("copy").run(...p, "fetch", "-q", "origin", "refs/pull/*:refs/pull/*");
  },
  "a shallow clone that gets shallower": async (w, url, p) => {
    await w.run(...p, "clone", "-q", "--depth=8", url, "copy");
    await w.in("copy").run(...p, "fetch", "-q", "--depth=2", "--no-tags");
  },
  "since a time, then since an earlier one": async (w, url, p) => {
    await w.run(...p, "clone", "-q", `--shallow-since=${at(32)}`, url, "copy");
    await w.in("copy").run(...p, "fetch", "-q", `--shallow-since=${at(16)}`);
  },
  "without what a tag has, then without another": async (w, url, p) => {
    await w.run(...p, "clone", "-q", "--shallow-exclude=v29", url, "copy");
    await w.in("copy").run(...p, "fetch", "-q", "--shallow-exclude=v9", "--shallow-exclude=side");
  },
  "a bare partial clone without blobs": async (w, url, p) =>
    void (await w.run(...p, "clone", "-q", "--bare", "--filter=blob:none", url, "copy")),
  "a bare partial clone without large blobs": async (w, url, p) =>
    void (await w.run(...p, "clone", "-q", "--bare", "--filter=blob:limit=1k", url, "copy")),
  "a bare partial clone of commits": async (w, url, p) =>
    void (await w.run(...p, "clone", "-q", "--bare", "--filter=tree:0", url, "copy")),
  "a bare partial clone of trees two deep": async (w, url, p) =>
    void (await w.run(...p, "clone", "-q", "--bare", "--filter=tree:2", url, "copy")),
  "a bare partial clone of types": async (w, url, p) =>
    void (await w.run(...p, "clone", "-q", "--bare", "--filter=object:type=tree", url, "copy")),
  "a bare partial clone with two filters": async (w, url, p) =>
    void (await w.run(
      ...p,
      "clone",
      "-q",
      "--bare",
      "--filter=blob:limit=1k",
      "--filter=tree:3",
      url,
      "copy",
    )),
  "a partial and shallow clone, deepened": async (w, url, p) => {
    await w.run(...p, "clone", "-q", "--bare", "--filter=blob:none", "--depth=2", url, "copy");
    await w.in("copy").run(...p, "fetch", "-q", "--depth=6", "origin", "main");
  },
};

const IN_EVERY_VERSION = new Set([
  "a clone",
  "depth 1, deeper by two, depth 9, everything",
  "a bare partial clone without blobs",
]);

function formatOf(url: string): string {
  return url.includes("sha256") ? "sha256" : "sha1";
}

for (const connection of ["http", "git"] as const satisfies readonly Connection[]) {
  for (const version of VERSIONS) {
    describe(`${connection}, protocol v${version}`, () => {
      let workspace: GitClient;
      let judge: GitClient;
      const protocol = ["-c", `protocol.version=${version}`, "-c", "protocol.allow=always"];
      const urlOf = (name: string): string =>
        connection === "http" ? server.httpUrl(name) : server.gitUrl(name);

      const judgeUrlOf = (name: string): string =>
        connection === "http" ? backend.urlOf(name) : `file://${origin.directory}/${name}`;

      beforeEach(() => {
        workspace = createWorkspace();
        judge = createWorkspace();
      });
      afterEach(() => {
        removeDirectory(workspace);
        removeDirectory(judge);
      });

      for (const [name, run] of Object.entries(SCENARIOS)) {
        // Version 1 is version 0 behind a greeting; the hash changes no more than the lengths of ids.
        if (version === 1 && !IN_EVERY_VERSION.has(name)) continue;
        const formats = IN_EVERY_VERSION.has(name) && connection === "http" ? ["sha1", "sha256"] : ["sha1"];
        it(name, async () => {
          for (const format of formats) {
            const [theirs, ours] = await Promise.all(
              [
                [judge, judgeUrlOf(`${format}.git`)] as const,
                [workspace, urlOf(`${format}.git`)] as const,
              ].map(async ([client, url]) => {
                await run(client, url, protocol);
                return stateOf(client.in("copy"));
              }),
            );
            expect(ours).toEqual(theirs);
            await workspace.in("copy").run("fsck", "--no-dangling");
            removeDirectory(workspace.in("copy"));
            removeDirectory(judge.in("copy"));
          }
          expect(server.failures).toEqual([]);
        });
      }

      it("lists refs as git does", async () => {
        for (const [options, patterns] of LISTINGS) {
          const list = (url: string) => workspace.run(...protocol, "ls-remote", ...options, url, ...patterns);
          expect(await list(urlOf("sha1.git"))).toBe(await list(judgeUrlOf("sha1.git")));
        }
      });

      it("fetches what is new to a client that has much of its own", async () => {
        const theirs = await createHistory(workspace, "busy.git", { commits: 12 });
        const busy = await startUploadPackServer({ root: workspace.directory });
        try {
          const url = connection === "http" ? busy.httpUrl("busy.git") : busy.gitUrl("busy.git");
          await workspace.run(...protocol, "clone", "-q", url, "copy");
          const copy = workspace.in("copy");
          await importCommits(copy, "refs/heads/local", { from: "refs/remotes/origin/main^0", count: 300 });
          await importCommits(theirs, "refs/heads/main", { from: "refs/heads/main^0", count: 3 });
          const before = await looseObjects(copy);
          await copy.run(...protocol, "fetch", "-q", "origin");
          expect(await copy.run("rev-parse", "origin/main")).toBe(await theirs.run("rev-parse", "main"));
          await copy.run("fsck", "--no-dangling");
          // Nothing but the three commits, their trees and blobs came, since the rest was found to be common.
          expect((await looseObjects(copy)) - before).toBe(12);
          expect(busy.failures).toEqual([]);
          expect(busy.crashes).toEqual([]);
        } finally {
          await busy.close();
        }
      });
    });
  }
}

const LISTINGS: readonly (readonly [options: readonly string[], patterns: readonly string[]])[] = [
  [[], []],
  [["--heads"], []],
  [["--tags"], []],
  [["--symref"], []],
  [["--refs"], []],
  [[], ["refs/pull/*"]],
  [[], ["main", "v9"]],
];

async function looseObjects(client: GitClient): Promise<number> {
  return Number(/count: (\d+)/.exec(await client.run("count-objects", "-v"))?.[1]);
}

async function importCommits(
  client: GitClient,
  ref: string,
  about: { readonly from: string; readonly count: number },
): Promise<void> {
  const commits = Array.from({ length: about.count }, (_, i) => {
    const from = i === 0 ? `from ${about.from}\n` : "";
    const text = `${ref} ${i}`;
    return `commit ${ref}\ncommitter Ada <ada@example.org> ${at(100 + i)} +0000\ndata ${text.length}\n${text}\n${from}M 100644 inline dir1/new\ndata ${text.length}\n${text}\n`;
  });
  const imported = await client.tryWith(
    { input: commits.join("") },
    "-c",
    "fastimport.unpackLimit=0",
    "fast-import",
    "--quiet",
  );
  expect(imported.stderr).toBe("");
}
