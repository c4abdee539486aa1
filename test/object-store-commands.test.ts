/** The commands for the object store, beside a server that serves it. */
import { mkdtempSync, rmSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { openObjectStorage } from "../src/server/object-storage.js";
import type { S3BucketOptions } from "../src/storage/object-store/bucket/s3-bucket.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import type { GitResult } from "./support/git-runner.js";
import { servedStorages } from "./support/object-storages.js";
import { runGitwharf } from "./support/run-gitwharf.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";

describe("gitwharf history, verify, fork, rename, restore, deleted, undelete, export, import", () => {
  const client: GitClient = createWorkspace();
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  const database = `sqlite:${join(directory, ".gitwharf", "access.sqlite")}`;
  let server: ServeProcess;
  let first: string;
  let second: string;

  beforeAll(async () => {
    server = await startServe(directory, "--storage", "object-store", "--log", "none");
    await client.run("init", "-q", "app");
    const tree = client.in("app");
    for (const text of ["first", "second"]) {
      await writeFile(join(tree.directory, `${text}.txt`), `${text}\n`);
      await tree.run("add", ".");
      await tree.run("commit", "-q", "-m", text);
      await tree.run("push", "-q", `${server.url}/app.git`, "main");
    }
    [second = "", first = ""] = (await tree.run("rev-list", "main")).split("\n");
  }, 60_000);
  afterAll(async () => {
    await server.end("SIGTERM");
    removeDirectory(client);
    rmSync(directory, { recursive: true, force: true });
  });

  const run = (...args: readonly string[]): Promise<GitResult> =>
    runGitwharf([...args, "-d", directory], { cwd: client.directory });
  /** What it prints when all is well. */
  const done = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await run(...args);
    expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: "" });
    return stdout;
  };
  const json = async (...args: readonly string[]): Promise<unknown> =>
    JSON.parse(await done(...args, "--json"));
  const tipOf = async (name: string): Promise<string> =>
    (await client.run("ls-remote", `${server.url}/${name}.git`, "refs/heads/main")).slice(0, 40);

  it("lists what a repository was", async () => {
    const lines = (await done("history", "app")).trimEnd().split("\n");
    expect(lines.map((line) => line.replaceAll(/\S+Z|[0-9a-f]{12}/g, "…").replaceAll(/ +/g, " "))).toEqual([
      "2 … … push refs/heads/main by anonymous <anonymous@127.0.0.1>",
      "1 … … push refs/heads/main by anonymous <anonymous@127.0.0.1>",
      "0 … … create -",
    ]);
    expect(await json("history", "app", "-n", "1", "--before", "2")).toEqual([
      expect.objectContaining({
        generation: 1,
        kind: "push",
        root: expect.stringMatching(/^[0-9a-f]{64}$/),
        about: { who: "anonymous <anonymous@127.0.0.1>", refs: ["refs/heads/main"] },
      }),
    ]);
  });

  it("makes, checks and maintains a repository as in a directory", async () => {
    const here = ["--storage", "object-store"] as const;
    expect(await done("init", "empty", ...here, "-b", "trunk")).toBe("made empty\n");
    expect(await client.run("ls-remote", "--symref", `${server.url}/empty.git`)).toBe("");
    expect(await done("fsck", "app", ...here)).toMatch(/^app: checked 6 objects, 0 errors\n$/m);
    expect(await done("maintenance", "run", "empty", ...here, "--task", "fold")).toBe(
      "empty: nothing to fold\n",
    );
    const refused = await run("init", "tables", ...here, "--ref-format", "reftable");
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("--ref-format goes with") });
    const nowhere = await run("fsck", "nothing", ...here);
    expect(nowhere).toMatchObject({ status: 1, stderr: expect.stringContaining("in the object store") });
    const onDisk = await run("fsck", "app", "--bucket", "s3://git");
    expect(onDisk).toMatchObject({ status: 2, stderr: expect.stringContaining("go with --storage") });
  });

  it("forks, restores and renames, and the server knows at once", async () => {
    expect(await done("fork", "app", "people/fork")).toBe("people/fork is a fork of app\n");
    expect(await tipOf("people/fork")).toBe(second);
    expect(await done("restore", "app", "--generation", "1")).toBe(
      "app is as it was in generation 1: this is generation 3\n",
    );
    expect([await tipOf("app"), await tipOf("people/fork")]).toEqual([first, second]);
    // A day from now all is as it is now.
    const time = new Date(Date.now() + 86_400_000).toISOString();
    expect(await json("restore", "app", "--time", time)).toMatchObject({ name: "app", generation: 4 });
    expect(await done("rename", "people/fork", "team/moved")).toBe("people/fork is called team/moved now\n");
    expect(await tipOf("team/moved")).toBe(second);
    const refused = await run("rename", "team/moved", "app");
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("exists already") });
  });

  it("exports and imports", async () => {
    expect(await done("export", "app", "out.git", "--generation", "2")).toMatch(
      /^exported app to out\.git: 1 refs, 2 packs with \d+ bytes, root [0-9a-f]{64}\n$/,
    );
    await client.in("out.git").run("fsck", "--strict");
    expect(await client.in("out.git").run("rev-parse", "main")).toBe(second);
    expect(await done("import", "out.git", "imported")).toBe("imported imported: 1 refs, 6 objects\n");
    await client.in("app").run("bundle", "create", "-q", "../app.bundle", "main");
    expect(await json("import", "app.bundle", "from/bundle")).toEqual({
      repository: "from/bundle",
      refs: 1,
      objects: 6,
      omitted: [],
    });
    for (const name of ["imported", "from/bundle"]) expect(await tipOf(name)).toBe(second);
    expect(await run("export", "app", "out.git")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("exists already: export to a new directory"),
    });
  });

  it("serves what was", async () => {
    const [last] = (await json("history", "app")) as readonly { readonly timeMs: number }[];
    const time = new Date((last?.timeMs ?? 0) + 1).toISOString();
    const past = await startServe(directory, "--storage", "object-store", "--as-of", time, "--log", "none");
    try {
      expect(past.printed()).toContain(`as of ${time} and to be read only`);
      const tip = await client.run("ls-remote", `${past.url}/app.git`, "refs/heads/main");
      expect(tip.slice(0, 40)).toBe(await tipOf("app"));
      expect((await client.in("app").try("push", `${past.url}/app.git`, "HEAD:x")).stderr).toContain("403");
    } finally {
      await past.end("SIGTERM");
    }
    const disk = await runGitwharf(["serve", directory, "--as-of", time]);
    expect(disk).toMatchObject({ status: 2, stderr: expect.stringContaining("--as-of go with --storage") });
  });

  it("brings back what was deleted", async () => {
    const store = await openObjectStorage({ bucket: { directory: join(directory, "bucket") }, database });
    await store.delete("from/bundle");
    await store.close();
    const [deleted] = (await json("deleted")) as readonly {
      readonly id: string;
      readonly formerName: string;
    }[];
    expect(deleted?.formerName).toBe("from/bundle");
    expect(await done("deleted")).toMatch(/^\S{36} {2}\S+Z {2}from\/bundle\n$/);
    expect(await done("undelete", deleted?.id ?? "", "back")).toBe("back is back\n");
    expect(await tipOf("back")).toBe(second);
    expect(await run("undelete", "from/bundle")).toMatchObject({ status: 1 });
  });

  it("verifies, and ends with 1 when something is wrong", async () => {
    const [one, two] = (await done("verify", "imported", "--deep")).split("\n");
    expect(one).toMatch(/^imported: ok: generation 1, root [0-9a-f]{64}$/);
    expect(two).toMatch(
      /^3 nodes, 1 refs, 1 packs, 1 objects of the bucket with \d+ bytes, 6 objects of Git$/,
    );
    const seen = (await json("verify", "imported")) as { readonly root: string };
    expect(seen).toMatchObject({ repository: "imported", findings: [] });
    expect(one).toContain(seen.root);
    const objects = join(directory, "bucket");
    const names = (await readdir(objects, { recursive: true })).filter((name) => name.endsWith(".l0"));
    for (const name of names) {
      const bytes = await readFile(join(objects, name));
      bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20);
      rmSync(join(objects, name));
      await writeFile(join(objects, name), bytes);
    }
    const damaged = await run("verify", "imported");
    expect(damaged).toMatchObject({ status: 1, stderr: "" });
    expect(damaged.stdout).toMatch(/^object: l\/\S+ was changed: its SHA-256 is [^]*\nimported: 1 finding: /);
    expect(await run("export", "imported", "damaged.git")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("gitwharf verify tells more"),
    });
  });

  it("says what is wrong with a command", async () => {
    const wrong = async (status: number, text: string, ...args: readonly string[]): Promise<void> => {
      const result = await run(...args);
      expect({ args, status: result.status, stderr: result.stderr }).toEqual({
        args,
        status,
        stderr: expect.stringContaining(text),
      });
    };
    await wrong(1, "repository 'none' does not exist", "history", "none");
    await wrong(
      1,
      "has no generation 99, or keeps it no more; the newest is",
      "restore",
      "app",
      "--generation",
      "99",
    );
    await wrong(2, "Say --generation or --time", "restore", "app");
    await wrong(
      2,
      "exclude each other",
      "export",
      "app",
      "x.git",
      "--generation",
      "1",
      "--time",
      "2026-01-01",
    );
    await wrong(2, "write it as 2026-11-22", "restore", "app", "--time", "yesterday");
    await wrong(2, "cannot be a repository name", "fork", "app", "../out");
    await wrong(2, "Allowed choices are object-store, s3", "history", "app", "--storage", "disk");
    await wrong(2, "--storage s3 needs --bucket", "history", "app", "--storage", "s3");
    await wrong(2, "has another scheme than https and http", "import", "ssh://example.com/x.git", "x");
    await wrong(2, "go with a URL", "import", "out.git", "x", "--all-refs");
    await wrong(1, "there is neither a repository nor a bundle", "import", "absent", "x");
    const elsewhere = await runGitwharf(["history", "app", "-d", join(client.directory, "app")]);
    expect(elsewhere).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("there is no object store here"),
    });
  });
});

describe("gitwharf on S3 and PostgreSQL", () => {
  const storage = servedStorages(inject("cephSocket"));
  const client: GitClient = createWorkspace();
  const before = { ...process.env };
  const servers: ServeProcess[] = [];
  afterAll(async () => {
    for (const server of servers) await server.end("SIGTERM");
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    removeDirectory(client);
    await storage.close();
  });

  let where: readonly string[] = [];
  beforeAll(async () => {
    if (storage.isSkipped) return;
    const { bucket, database } = await storage.open(client.directory);
    const { bucket: name, prefix, endpoint, credentials } = bucket as S3BucketOptions;
    process.env["AWS_ACCESS_KEY_ID"] = credentials?.accessKeyId;
    process.env["AWS_SECRET_ACCESS_KEY"] = credentials?.secretAccessKey;
    where = [
      ["--storage", "s3"],
      ["--bucket", `s3://${name}/${prefix}`],
      ["--s3-endpoint", endpoint ?? ""],
      ["--database", database],
    ].flat();
  }, 300_000);
  const start = async (directory: string): Promise<ServeProcess> => {
    const server = await startServe(join(client.directory, directory), ...where, "--log", "none");
    servers.push(server);
    return server;
  };
  const run = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await runGitwharf([...args, ...where], { cwd: client.directory });
    expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: "" });
    return stdout;
  };
  const newTree = async (name: string): Promise<GitClient> => {
    await client.run("init", "-q", name);
    const tree = client.in(name);
    await tree.run("commit", "-q", "--allow-empty", "-m", "first");
    return tree;
  };

  it.skipIf(storage.isSkipped)(
    "serves by two processes, and the commands find what they serve",
    async () => {
      const [one, two] = [await start("one"), await start("two")];
      const tree = await newTree("tree");
      await tree.run("push", "-q", `${one.url}/app.git`, "main");
      expect(await run("fork", "app", "fork")).toBe("fork is a fork of app\n");
      expect(await client.run("ls-remote", `${two.url}/fork.git`)).toBe(
        await client.run("ls-remote", `${one.url}/app.git`),
      );
      expect(await run("verify", "fork", "--deep")).toMatch(/^fork: ok: generation 1, /);
      expect((await run("history", "app")).trimEnd().split("\n")).toHaveLength(2);
    },
    300_000,
  );

  it.skipIf(storage.isSkipped)(
    "has what any process has acknowledged that is killed, and goes on at once by the others",
    async () => {
      const other = await start("other");
      const tree = await newTree("killed");
      for (let round = 0; round < 2; round++) {
        const victim = await start(`victim-${round}`);
        let acknowledged = "";
        for (let i = 0; i < 100; i++) {
          await tree.run("commit", "-q", "--allow-empty", "-m", `round ${round}, ${i}`);
          if (i === 2) setTimeout(() => victim.child.kill("SIGKILL"), 30 + 40 * round);
          if ((await tree.try("push", "-q", `${victim.url}/killed.git`, "HEAD:main")).status !== 0) break;
          acknowledged = await tree.run("rev-parse", "HEAD");
        }
        const tip = (await client.run("ls-remote", `${other.url}/killed.git`, "refs/heads/main")).slice(
          0,
          40,
        );
        // A push whose answer was lost may be there as well.
        expect((await tree.try("merge-base", "--is-ancestor", acknowledged, tip)).status).toBe(0);
        await tree.run("push", "-q", `${other.url}/killed.git`, "HEAD:main");
        expect(await client.run("ls-remote", `${other.url}/killed.git`, "refs/heads/main")).toContain(
          await tree.run("rev-parse", "HEAD"),
        );
      }
      expect(await run("verify", "killed", "--deep")).toMatch(/^killed: ok: /);
    },
    300_000,
  );
});
