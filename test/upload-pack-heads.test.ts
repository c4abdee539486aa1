/**
 * Repositories whose HEAD is special, cloned with the client in every version: none at all (empty), a branch that is
 * not born, a commit without a branch, a hidden branch; and what `lsrefs.unborn` changes.
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { createHistory } from "./support/history.js";
import { type GitHttpBackend, startGitHttpBackend } from "./support/git-http-backend.js";
import { command, discover, postFetch } from "./support/raw-fetch.js";

let workspace: GitClient;
let server: TestServer;
let judge: GitHttpBackend;

beforeAll(async () => {
  workspace = createWorkspace();
  server = await createTestServer({ repositories: workspace.directory });
  judge = await startGitHttpBackend(workspace.directory);
});
afterAll(async () => {
  await server.close();
  await judge.close();
  removeDirectory(workspace);
});

/** What a clone looks like afterwards, or how it failed. */
async function cloned(url: string, protocol: readonly string[], ...options: readonly string[]) {
  const copy = workspace.in("copy");
  const result = await workspace.try(...protocol, "clone", "-q", ...options, url, "copy");
  const failed = { status: result.status, stderr: result.stderr, head: "", commit: "", refs: "" };
  if (result.status !== 0) return failed;
  const state = {
    status: result.status,
    stderr: result.stderr,
    head: (await copy.try("symbolic-ref", "HEAD")).stdout,
    commit: (await copy.try("rev-parse", "--verify", "HEAD")).stdout,
    refs: (await copy.try("for-each-ref", "--format=%(refname) %(objectname) %(symref)")).stdout,
  };
  removeDirectory(copy);
  return state;
}

for (const objectFormat of ["sha1", "sha256"] as const) {
  describe(objectFormat, () => {
    beforeAll(async () => {
      const form = `--object-format=${objectFormat}`;
      await workspace.run("init", "-q", "--bare", form, "-b", "trunk", `${objectFormat}/empty.git`);
      const app = await createHistory(workspace, `${objectFormat}/app.git`, { objectFormat, commits: 9 });
      const copy = (name: string): GitClient => {
        const path = `${objectFormat}/${name}.git`;
        cpSync(app.directory, join(workspace.directory, path), { recursive: true });
        return workspace.in(path);
      };
      await copy("unborn").run("symbolic-ref", "HEAD", "refs/heads/later");
      await copy("detached").run("update-ref", "--no-deref", "HEAD", "main~2");
    });

    for (const version of [0, 1, 2] as const) {
      // Version 1 is version 0 behind a greeting; the hash changes no more than the lengths of ids.
      if (version === 1 && objectFormat === "sha256") continue;
      const protocol = ["-c", `protocol.version=${version}`];
      describe(`v${version}`, () => {
        const urlOf = (name: string): string => server.urlOf(`${objectFormat}/${name}`);
        const sameAsGit = async (name: string, ...options: readonly string[]) => {
          const ours = await cloned(urlOf(name), protocol, ...options);
          const theirs = await cloned(judge.urlOf(`${objectFormat}/${name}.git`), protocol, ...options);
          expect(ours).toEqual(theirs);
          return ours;
        };

        it("clones an empty repository, with the branch that its HEAD names where the version can tell", async () => {
          const state = await sameAsGit("empty");
          expect(state.status).toBe(0);
          expect(state.stderr).toContain("You appear to have cloned an empty repository");
          expect(state.head).toBe(version === 2 ? "refs/heads/trunk\n" : "refs/heads/main\n");
          expect(await workspace.run(...protocol, "ls-remote", urlOf("empty"))).toBe("");
        });

        it("clones a repository whose HEAD names a branch that is not born", async () => {
          const state = await sameAsGit("unborn");
          // Where the version cannot tell, the client checks out what is its own default.
          if (version === 2) expect(state).toMatchObject({ head: "refs/heads/later\n", commit: "" });
          expect(state.refs).toContain("refs/remotes/origin/main");
        });

        it("clones a detached HEAD", async () => {
          const oid = await workspace.in(`${objectFormat}/detached.git`).run("rev-parse", "main~2");
          const state = await sameAsGit("detached");
          expect(state.head).toBe("");
          expect(state.commit).toBe(`${oid}\n`);
          expect(await workspace.run(...protocol, "ls-remote", urlOf("detached"), "HEAD")).toBe(
            `${oid}\tHEAD`,
          );
        });

        it("clones other branches and mirrors of it", async () => {
          await sameAsGit("app", "-b", "side");
          await sameAsGit("app", "-b", "light");
          await sameAsGit("app", "--mirror");
          expect((await sameAsGit("app", "-b", "absent")).status).not.toBe(0);
        });
      });
    }
  });
}

describe("an empty repository in memory", () => {
  it("is cloned with its branch", async () => {
    const store = createMemoryRepositoryStore();
    await store.create("one", { defaultBranch: "trunk", objectFormat: "sha1" });
    await store.create("two", { defaultBranch: "trunk", objectFormat: "sha256" });
    const memory = await createTestServer({ repositories: store });
    try {
      for (const name of ["one", "two"]) {
        const state = await cloned(memory.urlOf(name), ["-c", "protocol.version=2"]);
        expect(state).toMatchObject({ status: 0, head: "refs/heads/trunk\n" });
        expect((await cloned(memory.urlOf(name), ["-c", "protocol.version=0"])).status).toBe(0);
      }
    } finally {
      await memory.close();
    }
  });
});

describe("lsrefs.unborn", () => {
  const asked = command("ls-refs", "symrefs", "unborn");
  for (const [value, advertised, answered] of [
    [undefined, true, true],
    ["advertise", true, true],
    ["allow", false, true],
    ["ignore", false, false],
  ] as const) {
    it(`${value ?? "not set"}: ${advertised ? "" : "not "}advertised, ${answered ? "" : "not "}answered`, async () => {
      const name = `unborn-${value}`;
      await workspace.run("init", "-q", "--bare", `${name}.git`);
      if (value !== undefined) await workspace.in(`${name}.git`).run("config", "lsrefs.unborn", value);
      const url = server.urlOf(name);
      expect((await discover(url, 2)).includes("ls-refs=unborn")).toBe(advertised);
      const { packets } = await postFetch(url, 2, asked);
      expect(packets).toEqual([...(answered ? ["unborn HEAD symref-target:refs/heads/main"] : []), "flush"]);
    });
  }
});

describe("hidden refs", () => {
  it("are not listed, not wanted, and take a HEAD that names one with them", async () => {
    const app = await createHistory(workspace, "app.git", { commits: 9 });
    await app.run("config", "transfer.hideRefs", "refs/heads");
    await app.run("config", "--add", "transfer.hideRefs", "!refs/heads/side");
    for (const version of [0, 1, 2]) {
      const protocol = ["-c", `protocol.version=${version}`];
      const listed = await workspace.run(...protocol, "ls-remote", "--symref", server.urlOf("app"));
      expect(listed).not.toMatch(/HEAD|refs\/heads\/main/);
      expect(listed).toMatch(/refs\/heads\/side/);
      await workspace.run("init", "-q", `v${version}`);
      const copy = workspace.in(`v${version}`);
      const url = server.urlOf("app");
      expect((await copy.try(...protocol, "fetch", "-q", url, "main")).stderr).toContain(
        "couldn't find remote ref main",
      );
      // A commit that only the hidden branch leads to.
      await app.run("update-ref", "-d", "refs/tags/light");
      const tip = await app.run("rev-parse", "main");
      const pulled = await app.run("for-each-ref", "--contains", "main", "--format=%(refname)");
      for (const name of pulled.split("\n")) {
        if (name !== "refs/heads/main" && name !== "") await app.run("update-ref", "-d", name);
      }
      const byId = await copy.try(...protocol, "fetch", "-q", url, tip);
      expect(byId.status).not.toBe(0);
      expect(byId.stderr).toMatch(/not our ref|does not allow request for unadvertised object/);
      await copy.run(...protocol, "fetch", "-q", url, "side");
    }
  });
});
