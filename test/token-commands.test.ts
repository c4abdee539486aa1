/** `gitwharf user|key|token` on both databases beside `gitwharf serve` on the same one: what a token is for, from its making to its end. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, type GitResult, removeDirectory } from "./support/git-client.js";
import { SKIP_POSTGRES, startPostgres, type TestPostgres } from "./support/postgres.js";
import { runGitwharf } from "./support/run-gitwharf.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";
import { makeSshKey } from "./support/ssh-keygen.js";

let postgres: TestPostgres | undefined;
beforeAll(async () => {
  if (!SKIP_POSTGRES) postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

describe.each(["sqlite", "postgres"] as const)(
  "the commands and the server on %s",
  { timeout: 60_000 },
  (engine) => {
    let workspace: GitClient;
    let app: GitClient;
    let server: ServeProcess;
    let location: string;

    beforeAll(async () => {
      if (engine === "postgres" && SKIP_POSTGRES) return;
      workspace = createWorkspace();
      location =
        engine === "sqlite"
          ? `sqlite:${join(workspace.directory, "database/access.sqlite")}`
          : ((await postgres?.createDatabase()) ?? "");
      server = await startServe(join(workspace.directory, "repositories"), "--database", location);
      await workspace.run("init", "-q", "app");
      app = workspace.in("app");
      await app.run("commit", "-q", "--allow-empty", "-m", "one");
      await app.run("commit", "-q", "--allow-empty", "-m", "two");
    });
    afterAll(async () => {
      if (engine === "postgres" && SKIP_POSTGRES) return;
      await server.end("SIGTERM");
      removeDirectory(workspace);
    });

    const gitwharf = (args: readonly string[], input = ""): Promise<GitResult> => {
      const env = { ...process.env, GITWHARF_DATABASE: location };
      return runGitwharf(args, { cwd: workspace.directory, env, input });
    };
    const urlAs = (password: string, name = "team/app"): string =>
      `${server.url.replace("://", `://x:${password}@`)}/${name}.git`;

    it("hold a token to its operations, repositories, refs in their order, and its time", async ({
      skip,
    }) => {
      if (engine === "postgres" && SKIP_POSTGRES) skip();
      expect(server.printed()).toContain("OPEN");
      await app.run("push", "-q", `${server.url}/team/app.git`, "main");
      await app.run("push", "-q", `${server.url}/other.git`, "main");
      expect(await gitwharf(["user", "add", "ada", "--password-stdin"], "s3cret of ada\n")).toMatchObject({
        status: 0,
      });
      expect((await app.try("ls-remote", `${server.url}/team/app.git`)).status).not.toBe(0);
      const add = async (...options: readonly (readonly string[])[]): Promise<string> => {
        const { status, stdout, stderr } = await gitwharf(["token", "add", "ada", ...options.flat()]);
        if (status !== 0) throw new Error(stderr);
        return stdout.trim();
      };
      const ci = await add(
        ["--label", "ci", "--repository", "team/*", "--expires", "30d"],
        ["--ref", "deny:refs/heads/ci/kept", "--ref", "allow:create,update:refs/heads/ci/*"],
      );
      const push = (token: string, what: string, name?: string): ReturnType<GitClient["try"]> =>
        app.try("push", urlAs(token, name), what);
      expect(await push(ci, "main~1:refs/heads/ci/a")).toMatchObject({ status: 0 });
      expect(await push(ci, "main:refs/heads/ci/a")).toMatchObject({ status: 0 });
      for (const [what, why] of [
        ["+main~1:refs/heads/ci/a", "does not allow to force-update refs/heads/ci/a"],
        [":refs/heads/ci/a", "does not allow to delete refs/heads/ci/a"],
        ["main:refs/heads/ci/kept", "does not allow to create refs/heads/ci/kept"],
        ["main:refs/heads/b", "does not allow to create refs/heads/b"],
      ] as const)
        expect((await push(ci, what)).stderr).toContain(why);
      expect((await push(ci, "main:refs/heads/ci/a", "other")).stderr).toContain("not found");

      const reader = await add(["--read-only", "--repository", "team/app"]);
      expect(await app.try("ls-remote", urlAs(reader))).toMatchObject({ status: 0 });
      expect((await push(reader, "main:refs/heads/r")).stderr).toContain("does not allow to write");
      const short = await add(["--expires", "15m", "--label", "short"]);
      expect(await app.try("ls-remote", urlAs(short))).toMatchObject({ status: 0 });

      // The secret is shown once; what is kept is of no use to a thief.
      const listed = JSON.parse((await gitwharf(["token", "list", "--json"])).stdout) as {
        id: string;
        label: string;
        expires?: string;
      }[];
      expect(listed).toHaveLength(3);
      const endsIn = (label: string): number =>
        Date.parse(listed.find((token) => token.label === label)?.expires ?? "") - Date.now();
      expect(Math.round(endsIn("short") / 60_000)).toBeOneOf([14, 15]);
      expect(Math.round(endsIn("ci") / 86_400_000)).toBe(30);
      const kept =
        engine === "sqlite" ? bytesIn(join(workspace.directory, "database")) : await rowsOf(location);
      expect(kept).toContain("ada");
      for (const secret of [ci, ci.slice("gitwharf_".length), "s3cret of ada"])
        expect(kept).not.toContain(secret);

      const { id = "" } = listed.find(({ label }) => label === "ci") ?? {};
      expect(await gitwharf(["token", "remove", id])).toMatchObject({ status: 0 });
      expect((await app.try("ls-remote", urlAs(ci))).stderr).toContain("Authentication failed");
      expect(await app.try("ls-remote", urlAs(reader))).toMatchObject({ status: 0 });
      // With its user goes all that he had.
      const key = makeSshKey(workspace.directory, "laptop");
      expect(await gitwharf(["key", "add", "ada", `${key.path}.pub`])).toMatchObject({ status: 0 });
      expect(await gitwharf(["user", "remove", "ada"])).toMatchObject({ status: 0 });
      expect((await app.try("ls-remote", urlAs(reader))).stderr).toContain("Authentication failed");
      for (const what of ["user", "key", "token"])
        expect((await gitwharf([what, "list", "--json"])).stdout.trim()).toBe("[]");
      expect((await app.try("ls-remote", `${server.url}/team/app.git`)).status).not.toBe(0);
    });
  },
);

function bytesIn(directory: string): string {
  if (!existsSync(directory)) throw new Error(`there is no ${directory}`);
  return readdirSync(directory)
    .map((name) => readFileSync(join(directory, name), "latin1"))
    .join("");
}

async function rowsOf(location: string): Promise<string> {
  const client = new pg.Client({ connectionString: location });
  await client.connect();
  try {
    const sql = ["users", "ssh_keys", "tokens"].map(
      (table) => `select to_jsonb(t)::text as row from ${table} t`,
    );
    const { rows } = await client.query<{ row: string }>(sql.join(" union all "));
    return rows.map(({ row }) => row).join("\n");
  } finally {
    await client.end();
  }
}
