import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GitwharfError } from "../base/errors.js";
import { createRepositoryResolver, nameOfPath } from "./repository-resolver.js";

const REQUEST = {
  identity: { user: "ada" },
  operation: "fetch",
  address: undefined,
  transport: "http",
} as const;

let root: string;
beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "gitwharf-resolver-")));
  mkdirSync(join(root, "git/tenants"), { recursive: true });
  symlinkSync(join(root, "git"), join(root, "link"));
});
afterAll(() => rmSync(root, { recursive: true }));

describe("the name of a path", () => {
  const within = (path: string, roots: readonly string[] = ["git"], directory = "git"): Promise<string> =>
    nameOfPath(path, { directory: join(root, directory), roots: roots.map((each) => join(root, each)) });

  it("is what follows the directory, through a link to it as well", async () => {
    expect(await within(`${root}/git/ab/cd.git`)).toBe("ab/cd");
    expect(await within(`${root}/git/ab/cd.git/`)).toBe("ab/cd");
    expect(await within(`${root}/git/ab/cd`)).toBe("ab/cd");
    expect(await within(`${root}/git/ab/cd.git`, ["link"], "link")).toBe("ab/cd");
    expect(await within(`${root}/link/ab/cd.git`, ["link"], "link")).toBe("ab/cd");
    expect(await within(`${root}/git/tenants/a.git`, ["git/tenants"])).toBe("tenants/a");
  });

  it.each([
    "/git/../outside/a.git",
    "/git/tenants/../../outside.git",
    "/git/./a.git",
    "/git//a.git",
    "/git/a\0.git",
    "/git/.hidden",
    "/git",
    "/git/",
    "/gitother/a.git",
    "/outside/a.git",
    "/git/a.git/hooks/x.git",
    "/git/a b.git",
    "/git/..%2fa.git",
    "/git/-option",
  ])("is not that of %j", async (path) => {
    await expect(within(`${root}${path}`)).rejects.toMatchObject({ code: "storage/bad-name" });
  });

  it("is in one of the roots, and absolute", async () => {
    const inRoot = (path: string): Promise<string> => within(path, ["git/tenants"]);
    await expect(inRoot(`${root}/git/a.git`)).rejects.toThrow("in none of the roots");
    await expect(inRoot(`${root}/git/tenantsother/a.git`)).rejects.toThrow("in none of the roots");
    await expect(inRoot("git/tenants/a.git")).rejects.toThrow("not absolute");
    // A root that is elsewhere opens nothing.
    await expect(within(`${root}/elsewhere/a.git`, ["elsewhere"])).rejects.toThrow(
      "directory of repositories",
    );
  });
});

describe("a resolver", () => {
  it("answers a name or none", async () => {
    const resolve = createRepositoryResolver(
      (name) => (name === "old" ? "team/new.git" : undefined),
      () => undefined,
    );
    expect(await resolve("old", REQUEST)).toEqual({ repository: "team/new" });
    expect(await resolve("other", REQUEST)).toBeUndefined();
  });

  it("answers facts beside the name", async () => {
    const facts = { tenant: "7" };
    const resolve = createRepositoryResolver(
      () => ({ repository: "team/new.git", facts }),
      () => undefined,
    );
    expect(await resolve("old", REQUEST)).toEqual({ repository: "team/new", facts });
  });

  it.each<[string, unknown]>([
    ["a way up", "../secret"],
    ["a way up inside", "team/../../secret"],
    ["an absolute path", "/etc/passwd"],
    ["a backslash", "team\\app"],
    ["a NUL", "team\0"],
    ["nothing", ""],
    ["null", null],
    ["a number", 7],
    ["an object", { fullPath: "app" }],
    ["an object with a way up", { repository: "../app" }],
  ])("opens nothing with %s", async (_, answer) => {
    const failures: unknown[] = [];
    const resolve = createRepositoryResolver(
      () => answer as string,
      (error) => failures.push(error),
    );
    await expect(resolve("app", REQUEST)).rejects.toMatchObject({ code: "access/unavailable" });
    expect(failures).toHaveLength(1);
  });

  it("may refuse, and otherwise fails closed", async () => {
    const throwing = (error: Error): Promise<unknown> =>
      createRepositoryResolver(
        () => {
          throw error;
        },
        () => undefined,
      )("app", REQUEST);
    await expect(throwing(new GitwharfError("access/denied", "moved"))).rejects.toThrow("moved");
    await expect(throwing(new Error("secret detail"))).rejects.not.toThrow("secret detail");
  });
});
