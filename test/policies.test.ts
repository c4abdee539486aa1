/** Rules about repositories, operations, refs, paths, signatures and sizes, with the real client and raw requests. */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fingerprintOf } from "../src/access/ssh-public-key.js";
import { createAccessStore } from "../src/database/access-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { PolicyEntry } from "../src/access/policies/policy-rule.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";
import { send } from "./support/raw-http.js";
import { blobOid, formatCommands, pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

let workspace: GitClient;
let app: GitClient;
let server: TestServer | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await commit("docs/a", "one\n");
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  removeDirectory(workspace);
});

/** Who knows the password "x" is who they say. */
async function serve(
  policies: readonly PolicyEntry[] | undefined,
  more: Partial<GitServerOptions> = {},
): Promise<TestServer> {
  server = await createTestServer({
    authenticate: (credentials) =>
      credentials.kind === "basic" && credentials.password === "x" ? { user: credentials.user } : undefined,
    log: () => undefined,
    ...(policies === undefined ? {} : { policies }),
    ...more,
  });
  return server;
}

async function commit(path: string, text: string, ...args: readonly string[]): Promise<string> {
  const file = join(app.directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  await app.run("add", "-A");
  await app.run("commit", "-q", ...args, "-m", `${path} ${text.length}`);
  return app.run("rev-parse", "HEAD");
}

const as = (user: string, repository = "app"): string =>
  (server?.urlOf(repository) ?? "").replace("http://", `http://${user}:x@`);
const push = (user: string, ...args: readonly string[]) => app.try("push", "-q", as(user), ...args);
const basic = (user: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:x`).toString("base64")}`,
});

const OWNER: PolicyEntry = { name: "owner", effect: "allow", users: ["owner"] };
const READERS: PolicyEntry = { name: "readers", effect: "allow", operations: ["read"], users: ["@users"] };

describe("policies", () => {
  it("decide by user, repository and operation, the first that matches", async () => {
    await serve([
      { effect: "deny", users: ["mallory"], reason: "mallory is on leave" },
      { effect: "allow", repositories: ["public/**"], operations: ["read"] },
      { effect: "allow", users: ["owner", "dev-*"], repositories: ["public/*"] },
    ]);
    await app.run("push", "-q", as("owner", "public/app"), "main");
    await workspace.run("clone", "-q", server?.urlOf("public/app") ?? "", "copy");
    await app.run("push", "-q", as("dev-1", "public/app"), "main:dev");
    expect((await app.try("push", as("reader", "public/app"), "main:x")).stderr).toContain(
      "You are not allowed to push to this repository",
    );
    expect((await app.try("push", as("mallory", "public/app"), "main:y")).stderr).toContain("not found");
    expect((await app.try("push", as("owner", "public/deep/app"), "main")).status).not.toBe(0);
  });

  it("judge refs: create, update, forced update, delete", async () => {
    await serve([
      OWNER,
      READERS,
      { effect: "deny", refs: ["refs/heads/main"], actions: ["force", "delete"], reason: "main is kept" },
      { effect: "allow", users: ["ada"], refs: ["refs/heads/main"], actions: ["update", "force"] },
      { effect: "allow", users: ["ada"], refs: ["refs/heads/ada/**"] },
    ]);
    expect((await push("ada", "main")).stderr).toContain("You are not allowed to create this repository");
    await app.run("push", "-q", as("owner"), "main");
    const first = await app.run("rev-parse", "HEAD");
    await commit("docs/a", "two\n");
    expect(await push("ada", "main")).toMatchObject({ status: 0 });
    expect((await push("ada", `+${first}:refs/heads/main`)).stderr).toContain("main is kept");
    expect((await push("ada", ":main")).stderr).toContain("main is kept");
    expect((await push("ada", "main:refs/heads/other")).stderr).toContain(
      "You are not allowed to create refs/heads/other",
    );
    expect(await push("ada", "main:refs/heads/ada/x")).toMatchObject({ status: 0 });
    expect(await push("ada", `+${first}:refs/heads/ada/x`)).toMatchObject({ status: 0 });
    // One ref that is refused refuses the push.
    expect((await push("ada", "main:refs/heads/ada/y", "main:refs/heads/other")).status).not.toBe(0);
    const refs = await workspace.run("ls-remote", as("owner"));
    expect(refs).not.toContain("refs/heads/ada/y");
    expect(refs).toContain(`${await app.run("rev-parse", "HEAD")}\trefs/heads/main`);
  });

  it("ask on raw requests that skip discovery", async () => {
    await serve([OWNER, READERS, { effect: "allow", users: ["ada"], refs: ["refs/tags/ada-*"] }]);
    await app.run("push", "-q", as("owner"), "main");
    const post = async (user: string | undefined, name: string): Promise<string> => {
      const headers = { "Content-Type": RECEIVE_PACK_TYPE, ...(user === undefined ? {} : basic(user)) };
      const body = pushOfBlob(name, "text\n");
      const answer = await send(`${server?.urlOf("app")}/git-receive-pack`, { body, headers });
      return `${answer.status} ${answer.body.toString()}`;
    };
    expect(await post("ada", "ada-1")).toMatch(/^200 .*ok refs\/tags\/ada-1/s);
    expect(await post("ada", "bob-1")).toMatch(/^200 .*ng refs\/tags\/bob-1 You are not allowed to create/s);
    expect(await post("bob", "ada-2")).toMatch(/^403 /);
    expect(await post(undefined, "ada-3")).toMatch(/^401 /);
    expect(await workspace.run("ls-remote", "--tags", as("owner"))).toMatch(/^\S+\trefs\/tags\/ada-1$/);
  });

  it("hide what a user may not read: status and body are those of a repository that does not exist", async () => {
    await serve([OWNER, { effect: "allow", users: ["ada"], repositories: ["hers/**"] }]);
    await app.run("push", "-q", as("owner", "private"), "main");
    const body = Buffer.from(formatCommands([{ newOid: blobOid("x"), name: "refs/tags/x" }]));
    const ask = async (name: string): Promise<readonly string[]> => {
      const url = server?.urlOf(name) ?? "";
      const headers = { ...basic("ada"), "Content-Type": RECEIVE_PACK_TYPE };
      const answers = [
        await send(`${url}/info/refs?service=git-upload-pack`, { headers }),
        await send(`${url}/info/refs?service=git-receive-pack`, { headers }),
        await send(`${url}/git-receive-pack`, { headers, body }),
        await send(`${url}/HEAD`, { headers }),
      ];
      return answers.map(({ status, body: text, headers: all }) =>
        [status, text.toString(), JSON.stringify({ ...all, date: "", "x-request-id": "" })]
          .join(" ")
          .replaceAll(name, "NAME"),
      );
    };
    const hidden = await ask("private");
    expect(hidden).toEqual(await ask("missing"));
    expect(hidden[0]).toMatch(/^404 repository 'NAME' does not exist\n/);
  });

  it("judge changed paths, in every new commit", async () => {
    await serve([
      OWNER,
      READERS,
      { effect: "deny", paths: ["ops/**", "*.lock"], reason: "ops and lock files are the owner's" },
      { effect: "allow", users: ["ada"], paths: ["docs/**", "ops/**"] },
    ]);
    await app.run("push", "-q", as("owner"), "main");
    await commit("docs/b", "b\n");
    expect(await push("ada", "main")).toMatchObject({ status: 0 });
    const good = await app.run("rev-parse", "HEAD");
    await commit("src/a", "a\n");
    expect((await push("ada", "main")).stderr).toContain("You are not allowed to update refs/heads/main");
    // Taken back in the next commit, and in the history all the same.
    await app.run("rm", "-q", "-r", "src");
    await app.run("commit", "-q", "-m", "back");
    expect((await push("ada", "main")).status).not.toBe(0);
    // Not by way of a merge that brings it in either.
    await app.run("reset", "-q", "--hard", good);
    await app.run("checkout", "-q", "-b", "side");
    await commit("docs/c", "c\n");
    await app.run("checkout", "-q", "main");
    await commit("docs/d", "d\n");
    await app.run("merge", "-q", "--no-commit", "side");
    await commit("ops/x", "x\n");
    expect((await push("ada", "main")).stderr).toContain("ops and lock files are the owner's");
    await app.run("reset", "-q", "--hard", "HEAD^");
    await app.run("merge", "-q", "--no-ff", "-m", "merge", "side");
    expect(await push("ada", "main")).toMatchObject({ status: 0, stderr: "" });
    // To take the branch away is no change of docs.
    expect((await push("ada", ":main")).stderr).toContain("You are not allowed to delete refs/heads/main");
    // Nor by a merge with what the branch had long ago, which changes nothing that one of its parents has not.
    await app.run("checkout", "-q", "-b", "kept");
    await commit("ops/y", "old\n");
    const old = await app.run("rev-parse", "HEAD");
    const oldTree = await app.run("rev-parse", "HEAD^{tree}");
    await commit("ops/y", "new\n");
    await app.run("push", "-q", as("owner"), "HEAD:refs/heads/main");
    const evil = await app.run("commit-tree", "-p", "HEAD", "-p", old, "-m", "merge", oldTree);
    expect((await push("ada", `${evil}:refs/heads/main`)).stderr).toContain(
      "ops and lock files are the owner's",
    );
    // A branch that others filled is not taken over by naming it.
    await commit("src/b", "b\n");
    await app.run("push", "-q", as("owner"), "HEAD:refs/heads/feature");
    expect((await push("ada", "HEAD:refs/heads/main")).status).not.toBe(0);
  });

  it("see what is in directories whose names are no UTF-8 and read the same", async () => {
    await serve([
      { effect: "deny", users: ["ada"], paths: ["**/secret"], reason: "secrets are the owner's" },
      { effect: "allow", users: ["@users"] },
    ]);
    const blob = (await app.tryWith({ input: "x" }, "hash-object", "-w", "--stdin")).stdout.trim();
    const tree = async (...entries: readonly (readonly [string, string])[]): Promise<string> => {
      const lines = entries.map(([head, name]) => `${head}\t${name}\n`).join("");
      return (await app.tryWith({ input: Buffer.from(lines, "latin1") }, "mktree")).stdout.trim();
    };
    const bad = await tree([`100644 blob ${blob}`, "secret"]);
    const good = await tree([`100644 blob ${blob}`, "plain"]);
    for (const [first, second] of [
      [bad, good],
      [good, bad],
    ] as const) {
      const root = await tree([`040000 tree ${first}`, "d\u00fe"], [`040000 tree ${second}`, "d\u00ff"]);
      const oid = await app.run("commit-tree", "-m", "odd names", root);
      expect((await push("ada", `${oid}:refs/heads/odd`)).stderr).toContain("secrets are the owner's");
      expect(await push("bob", `+${oid}:refs/heads/odd-too`)).toMatchObject({ status: 0 });
    }
  });

  it("refuse trees that stand for more paths than can be judged, and take them where nobody asks", async () => {
    await serve([
      { effect: "deny", users: ["ada"], paths: ["secret/**"] },
      { effect: "allow", users: ["@users"] },
    ]);
    // Ten levels of ten times the same tree: 10,000,000,000 paths of 11 objects.
    const blob = (await app.tryWith({ input: "x" }, "hash-object", "-w", "--stdin")).stdout.trim();
    let entry = `100644 blob ${blob}`;
    for (let level = 0; level < 10; level++) {
      const input = Array.from({ length: 10 }, (_, i) => `${entry}\t${i}\n`).join("");
      entry = `040000 tree ${(await app.tryWith({ input }, "mktree")).stdout.trim()}`;
    }
    const oid = await app.run("commit-tree", "-m", "many", entry.split(" ")[2] ?? "");
    expect((await push("ada", `${oid}:refs/heads/many`)).stderr).toContain("than can be judged");
    expect(await push("bob", `${oid}:refs/heads/many`)).toMatchObject({ status: 0 });
  });

  it("require signed commits, wherever the commits come from", async () => {
    const signed: PolicyEntry = {
      effect: "require",
      refs: ["refs/heads/main"],
      require: { signedCommits: true },
      reason: "main takes signed commits",
    };
    await serve([signed, OWNER]);
    await workspace.run("init", "-q", "--bare", "scratch.git");
    expect((await push("owner", "main")).stderr).toMatch(/main takes signed commits.*is not signed/s);
    expect(await push("owner", "main:dev")).toMatchObject({ status: 0 });
    // It is in the repository by now, and still not signed.
    expect((await push("owner", "main")).stderr).toContain("is not signed");
    const text = await app.run("cat-file", "commit", "HEAD");
    const signature = "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----\n";
    const input = text.replace("\n\n", `\n${signature}\n`);
    const made = await app.tryWith({ input: `${input}\n` }, "hash-object", "-t", "commit", "-w", "--stdin");
    const oid = made.stdout.trim();
    expect(await push("owner", `${oid}:refs/heads/main`)).toMatchObject({ status: 0 });
    await app.run("reset", "-q", "--hard", oid);
    await commit("docs/e", "unsigned\n");
    expect((await push("owner", "main")).stderr).toContain("is not signed");
  });

  it("take commits that users of the database have signed with their SSH keys", async () => {
    const location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
    const database = await openDatabase(parseDatabaseLocation(location));
    try {
      const store = createAccessStore(database);
      await store.addUser({ name: "ada" });
      const ada = makeSshKey(workspace.directory, "ada");
      const eve = makeSshKey(workspace.directory, "eve", "ecdsa:256");
      const blob = ada.blob.toString("base64");
      const fingerprint = fingerprintOf(ada.blob);
      await store.addKey({
        fingerprint,
        user: "ada",
        type: "ssh-ed25519",
        blob,
        comment: "",
        grant: undefined,
      });
      await serve([{ effect: "require", require: { signedCommits: "user-keys" } }, OWNER], {
        database: location,
      });
      await app.run("config", "gpg.format", "ssh");
      await app.run("checkout", "-q", "--orphan", "signed");
      const sign = (key: string, text: string): Promise<string> =>
        app.run("-c", `user.signingKey=${key}`, "commit", "-q", "--allow-empty", "-S", "-m", text);
      await sign(ada.path, "first, with \u00e4");
      expect(await push("owner", "signed")).toMatchObject({ status: 0 });
      await sign(eve.path, "second");
      expect((await push("owner", "signed")).stderr).toContain("which is no user's key");
      // Her signature under other words.
      const text = await app.run("cat-file", "commit", "HEAD^");
      const made = await app.tryWith(
        { input: `${text.replace("first", "other")}\n` },
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
      );
      expect((await push("owner", `+${made.stdout.trim()}:refs/heads/signed`)).stderr).toContain(
        "has no good SSH signature",
      );
      expect((await push("owner", "main")).stderr).toContain("is not signed");
    } finally {
      await database.close();
    }
    await server?.close();
    await expect(
      serve([{ effect: "require", require: { signedCommits: "user-keys" } }]),
    ).rejects.toMatchObject({
      code: "server/bad-configuration",
    });
  });

  it("ask the application whether a signature is good", async () => {
    const asked: string[] = [];
    await serve([{ effect: "require", require: { signedCommits: true } }, OWNER], {
      verifyCommit: ({ signature, committerEmail }) => {
        asked.push(committerEmail);
        // What no boolean is, is no word for it.
        return signature.includes("GOOD") || (signature.includes("ODD") && ({ good: true } as never));
      },
    });
    const text = await app.run("cat-file", "commit", "HEAD");
    for (const [word, status] of [
      ["BAD", 1],
      ["ODD", 1],
      ["GOOD", 0],
    ] as const) {
      const signature = `gpgsig -----BEGIN PGP SIGNATURE-----\n ${word}\n -----END PGP SIGNATURE-----\n`;
      const input = `${text.replace("\n\n", `\n${signature}\n`)}\n`;
      const made = await app.tryWith({ input }, "hash-object", "-t", "commit", "-w", "--stdin");
      const pushed = await push("owner", `${made.stdout.trim()}:refs/heads/main`);
      expect([word, pushed.status === 0 ? 0 : 1]).toEqual([word, status]);
    }
    expect(asked).toEqual(Array(3).fill("ada@example.org"));
  });

  it.each<[string, () => unknown]>([
    ["nothing", () => undefined],
    ["a word", () => "good"],
    ["never", () => new Promise(() => undefined)],
    [
      "an error",
      () => {
        throw new Error("the key server is away");
      },
    ],
  ])("take no signature for good when the application answers %s", async (_, answer) => {
    await serve([{ effect: "require", require: { signedCommits: true } }, OWNER], {
      verifyCommit: answer as () => boolean,
      limits: { decisionTimeoutMs: 100 },
    });
    const text = await app.run("cat-file", "commit", "HEAD");
    const signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n X\n -----END PGP SIGNATURE-----\n";
    const input = `${text.replace("\n\n", `\n${signature}\n`)}\n`;
    const made = await app.tryWith({ input }, "hash-object", "-t", "commit", "-w", "--stdin");
    const pushed = await push("owner", `${made.stdout.trim()}:refs/heads/main`);
    expect(pushed.stderr).toMatch(/is not good|could not decide on authorization/);
    expect(pushed.stderr).not.toContain("key server");
  });

  it("hold sizes: of a push and of a file", async () => {
    await serve([
      { effect: "require", refs: ["refs/heads/**", "refs/tags/**"], require: { fileBytesMax: 1000 } },
      { effect: "require", users: ["ada"], require: { pushBytesMax: 20_000 } },
      { effect: "allow", users: ["@users"] },
    ]);
    expect(await push("ada", "main")).toMatchObject({ status: 0 });
    await commit("docs/exact", "x".repeat(1000));
    expect(await push("ada", "main")).toMatchObject({ status: 0 });
    await commit("docs/large", "x".repeat(1001));
    expect((await push("ada", "main")).stderr).toContain("'docs/large' has 1001 bytes, and 1000 are allowed");
    // Nor without a commit.
    await app.run("tag", "tree", "HEAD^{tree}");
    await app.run("tag", "-m", "of a blob", "blob", "HEAD:docs/large");
    expect((await push("ada", "tree")).stderr).toContain("'docs/large' has 1001 bytes");
    expect((await push("ada", "blob")).stderr).toContain("'refs/tags/blob' has 1001 bytes");
    await app.run("reset", "-q", "--hard", "HEAD^");
    for (let i = 0; i < 40; i++)
      writeFileSync(join(app.directory, `docs/${i}`), randomBytes(740).toString("base64"));
    await commit("docs/last", "last\n");
    expect((await push("ada", "main:refs/heads/large")).stderr).toMatch(
      /the push has \d+ bytes, and 20000 are allowed/,
    );
    expect(await push("bob", "main:refs/heads/bob")).toMatchObject({ status: 0 });
  });

  it("leave to code, and to `authorize`, what no rule decides", async () => {
    await serve(
      [
        {
          decide: ({ identity, operation }) =>
            identity.user === "ada" && operation === "push"
              ? { allowed: false, reason: "not on Fridays", answer: "forbid" }
              : undefined,
        },
        { effect: "allow", users: ["bob"] },
      ],
      {
        authorize: ({ identity: { user } }) =>
          user === "eve"
            ? { allowed: true }
            : { allowed: false, reason: "no", answer: user === undefined ? "challenge" : "forbid" },
      },
    );
    expect(await push("bob", "main")).toMatchObject({ status: 0 });
    expect(await push("eve", "main:eve")).toMatchObject({ status: 0 });
    expect((await push("ada", "main:ada")).stderr).toContain("not on Fridays");
    expect((await push("zoe", "main:zoe")).status).not.toBe(0);
  });

  it("hide refs from some readers, whatever they ask for, and when they push", async () => {
    await serve([
      { effect: "allow", operations: ["read"], refs: ["refs/heads/secret/ada"], users: ["ada"] },
      { effect: "deny", operations: ["read"], refs: ["refs/heads/secret/**"], users: ["ada", "bob"] },
      { effect: "allow", users: ["@users"] },
    ]);
    await app.run("push", "-q", as("owner"), "main");
    const secret = await commit("docs/secret", "secret\n");
    await app.run("push", "-q", as("owner"), "main:refs/heads/secret/owner");
    const ada = await commit("docs/ada", "ada\n");
    await app.run("push", "-q", as("owner"), "main:refs/heads/secret/ada");
    for (const version of ["0", "2"]) {
      const seenBy = async (user: string): Promise<string> =>
        (await workspace.run("-c", `protocol.version=${version}`, "ls-remote", as(user))).replaceAll(
          /^\S+\t/gm,
          "",
        );
      expect(await seenBy("owner")).toBe(
        "HEAD\nrefs/heads/main\nrefs/heads/secret/ada\nrefs/heads/secret/owner",
      );
      expect(await seenBy("ada")).toBe("HEAD\nrefs/heads/main\nrefs/heads/secret/ada");
      expect(await seenBy("bob")).toBe("HEAD\nrefs/heads/main");
      await workspace.run("init", "-q", `bob-${version}`);
      const bob = workspace.in(`bob-${version}`);
      const wanted = await bob.try("-c", `protocol.version=${version}`, "fetch", "-q", as("bob"), secret);
      expect(wanted.stderr).toMatch(/not our ref|unadvertised object/);
      await bob.run("fetch", "-q", as("owner"), secret);
    }
    const advertised = await send(`${server?.urlOf("app")}/info/refs?service=git-receive-pack`, {
      headers: basic("bob"),
    });
    expect(advertised.body.toString()).not.toContain("secret");
    expect(advertised.body.toString()).not.toContain(ada);
    expect((await push("bob", `+${secret}^:refs/heads/secret/owner`)).stderr).toContain("hidden ref");
    expect((await send(`${server?.urlOf("app")}/HEAD`, { headers: basic("bob") })).status).toBe(403);
    expect((await send(`${server?.urlOf("app")}/HEAD`, { headers: basic("owner") })).status).toBe(200);
  });

  it("let anyone read what is listed for that, and nobody push unseen", async () => {
    await serve(undefined, { anonymousRead: ["public/**"] });
    await app.run("push", "-q", as("ada", "public/app"), "main");
    await app.run("push", "-q", as("ada", "private"), "main");
    await workspace.run("clone", "-q", server?.urlOf("public/app") ?? "", "copy");
    expect((await workspace.try("ls-remote", server?.urlOf("private") ?? "")).status).not.toBe(0);
    expect((await app.try("push", server?.urlOf("public/app") ?? "", "main:x")).stderr).toMatch(
      /could not read Username/,
    );
  });

  it.each<[string, unknown]>([
    ["no list", {}],
    ["a rule without effect", [{ users: ["ada"] }]],
    ["a misspelt condition", [{ effect: "allow", user: ["ada"] }]],
    ["patterns that are none", [{ effect: "allow", refs: "refs/heads/main" }]],
    ["an unknown action", [{ effect: "deny", actions: ["push"] }]],
    ["an unknown operation", [{ effect: "deny", operations: ["write"] }]],
    ["a requirement of nothing", [{ effect: "require" }]],
    ["a requirement that is not known", [{ effect: "require", require: { signed: true } }]],
    ["requirements of a rule that allows", [{ effect: "allow", require: { signedCommits: true } }]],
  ])("are refused at the start: %s", async (_, policies) => {
    await expect(serve(policies as PolicyEntry[])).rejects.toMatchObject({
      code: "server/bad-configuration",
    });
  });
});
