/** `gitwharf storage janitor`, `gc` and `witness`, beside a server; `rebuild`, when its database is lost. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { createWorkspace, removeDirectory } from "./support/git-client.js";
import { runGitwharf } from "./support/run-gitwharf.js";
import { startServe } from "./support/serve-process.js";

it("removes what was deleted long ago, and says what it did", async () => {
  const client = createWorkspace();
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  const run = (...args: readonly string[]): ReturnType<typeof runGitwharf> =>
    runGitwharf([...args, "-d", directory], { cwd: client.directory });
  try {
    const server = await startServe(directory, "--storage", "object-store", "--log", "none");
    await client.run("init", "-q", "tree");
    const tree = client.in("tree");
    await tree.run("commit", "-q", "--allow-empty", "-m", "first");
    for (const name of ["kept", "gone"])
      await tree.run("push", "-q", `${server.url}/${name}.git`, "HEAD:main");
    const location = `sqlite:${join(directory, ".gitwharf", "access.sqlite")}`;
    const database = await openDatabase(parseDatabaseLocation(location));
    const gone = { state: "deleted", name: null, former_name: "gone", hidden_at: 1 } as const;
    await database.db.updateTable("repositories").set(gone).where("name", "=", "gone").execute();
    const first = await run("storage", "janitor");
    expect(first).toMatchObject({ status: 0, stderr: "" });
    expect(first.stdout).toContain("deleted purged: 1\n");
    expect(await database.db.selectFrom("repositories").select("name").execute()).toEqual([{ name: "kept" }]);
    await database.close();
    const { status, stdout } = await run("storage", "janitor", "--json");
    expect({ status, ...(JSON.parse(stdout) as object) }).toMatchObject({
      status: 0,
      networksSeen: 1,
      deletedPurged: 0,
      failures: [],
    });
    expect(await run("storage", "gc")).toMatchObject({
      status: 0,
      stdout: "kept: 2 objects are reachable, 0 others have gone, 0 stay for a while; 1 packs instead of 1\n",
      stderr: "",
    });
    const again = await run("storage", "gc", "kept", "--grace", "0", "--json");
    expect(JSON.parse(again.stdout)).toEqual([{ repository: "kept", kind: "nothing to do" }]);
    expect(await run("storage", "gc", "gone")).toMatchObject({
      status: 1,
      stderr: "gitwharf: gone: repository 'gone' does not exist\n",
    });
    await client.run("clone", "-q", "--bare", `${server.url}/kept.git`, "kept.git");
    expect((await client.try("ls-remote", `${server.url}/gone.git`)).status).not.toBe(0);
    expect((await run("storage", "witness")).stdout).toContain("witnesses written: 1\n");
    const full = await run("storage", "rebuild");
    expect(full).toMatchObject({ status: 1, stderr: expect.stringContaining("needs an empty one") });
    expect(await server.end("SIGTERM")).toBe(0);
    rmSync(join(directory, ".gitwharf"), { recursive: true });
    const rebuilt = await run("storage", "rebuild", "--json");
    expect(rebuilt).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse(rebuilt.stdout)).toMatchObject({ repositories: 1, generations: 3, findings: [] });
    expect((await run("verify", "kept", "--deep")).status).toBe(0);
    const elsewhere = await runGitwharf(["storage", "janitor", "-d", join(client.directory, "tree")]);
    expect(elsewhere).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("there is no object store here"),
    });
  } finally {
    removeDirectory(client);
    rmSync(directory, { recursive: true, force: true });
  }
});
