/**
 * Authorization on the discovery alone. Seen at node-git-server 1.0.0: whoever skipped `info/refs` and sent the POST of a
 * push was asked for nothing.
 */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { createAccessStore } from "../src/database/access-store.js";
import { openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import { basicOf, type Doors, openDoors, overGit, overHttp, overSsh } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { pktLine, send } from "./support/raw-http.js";
import { pushOfBlob } from "./support/raw-push.js";

const LIST = `${pktLine("command=ls-refs\n")}0000`;
const REPOSITORIES = ["app", "public/app"];

let workspace: GitClient;
let doors: Doors;
beforeAll(() => {
  workspace = createWorkspace();
});
afterAll(() => removeDirectory(workspace));

/** What there is, asked by who may see everything. */
async function refs(repository: string): Promise<string> {
  return overHttp(doors, { ...basicOf("ada"), "Git-Protocol": "version=2" })(
    "git-upload-pack",
    repository,
    LIST,
  );
}

describe("node-git-server 1.0.0: a raw POST pushes unauthenticated", () => {
  beforeEach(async () => {
    doors = await openDoors(workspace);
    const push = overHttp(doors, basicOf("ada"));
    for (const name of REPOSITORIES)
      expect(await push("git-receive-pack", name, pushOfBlob("first", "first\n"))).toMatch(
        /^200 .*unpack ok/s,
      );
  });
  afterEach(() => doors.close());

  it.each<[who: string, headers: Record<string, string>, read: number, publicRead: number, push: number]>([
    ["nobody", {}, 401, 200, 401],
    ["a wrong password", basicOf("ada", "wrong"), 401, 401, 401],
    ["who does not exist", basicOf("mallory"), 401, 401, 401],
    ["a malformed header", { Authorization: "Basic %%%" }, 401, 401, 401],
    ["another scheme", { Authorization: "Negotiate x" }, 401, 401, 401],
    ["a user's name alone", basicOf("ada", ""), 401, 401, 401],
    ["a header of a proxy", { "X-Remote-User": "ada", "X-Forwarded-User": "ada" }, 401, 200, 401],
    ["a reader", basicOf("eve"), 200, 200, 403],
    ["a writer", basicOf("ada"), 200, 200, 200],
  ])("over HTTP, with %s", async (_, headers, read, publicRead, push) => {
    const call = overHttp(doors, { "Git-Protocol": "version=2", ...headers });
    for (const [i, name] of REPOSITORIES.entries()) {
      expect(Number.parseInt(await call("git-upload-pack", name, LIST), 10)).toBe(
        i === 0 ? read : publicRead,
      );
      expect(Number.parseInt(await call("git-receive-pack", name, pushOfBlob("raw", "raw\n")), 10)).toBe(
        push,
      );
      expect((await refs(name)).includes("refs/tags/raw")).toBe(push === 200);
    }
    for (const file of ["HEAD", "info/refs", "objects/info/packs"]) {
      const { status } = await send(`${doors.httpUrl}/app.git/${file}`, { headers });
      expect(status).toBe(read);
    }
  });

  it("makes no repository", async () => {
    for (const headers of [{}, basicOf("ada", "wrong"), basicOf("eve")]) {
      const answer = await overHttp(doors, headers)("git-receive-pack", "new", pushOfBlob("raw", "raw\n"));
      expect(answer).toMatch(/^40[134] /);
    }
    expect(await doors.server.store.open("new")).toBeUndefined();
  });

  it("over SSH, with keys of a reader, of a stranger, of a writer", async () => {
    const body = pushOfBlob("raw", "raw\n");
    for (const name of REPOSITORIES) {
      expect(await overSsh(doors, "eve")("git-receive-pack", name, body)).toMatch(/^1 gitwharf: /);
      expect(await overSsh(doors, "stranger")("git-receive-pack", name, body)).toContain("Permission denied");
      expect(await overSsh(doors, "stranger")("git-upload-pack", name, "0000")).toContain(
        "Permission denied",
      );
      expect(await refs(name)).not.toContain("refs/tags/raw");
      expect(await overSsh(doors, "ada")("git-receive-pack", name, body)).toMatch(/^0 .*unpack ok/s);
      expect(await refs(name)).toContain("refs/tags/raw");
    }
  });

  it("over git://, where nobody signs in", async () => {
    const call = overGit(doors);
    for (const name of REPOSITORIES) {
      expect(await call("git-receive-pack", name, pushOfBlob("raw", "raw\n"))).toMatch(/^[0-9a-f]{4}ERR /);
      expect(await refs(name)).not.toContain("refs/tags/raw");
    }
    expect(await call("git-upload-pack", "app", "0000")).toMatch(/^[0-9a-f]{4}ERR /);
    expect(await call("git-upload-archive", "app", "0000")).toMatch(/^[0-9a-f]{4}ERR /);
    expect(await call("git-upload-pack", "public/app", "0000")).toContain("refs/tags/first");
  });
});

describe("what was allowed when the client asked and is not when it pushes", () => {
  it("is refused: a token that is removed after the discovery", async () => {
    const location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
    const database = await openDatabase(parseDatabaseLocation(location));
    const store = createAccessStore(database);
    await store.addUser({ name: "ada" });
    const { id, token, hash } = createAccessToken();
    await store.addToken({ id, user: "ada", hash, label: "", expiresAt: undefined, grant: undefined });
    doors = await openDoors(workspace, { database: location });
    const headers = { Authorization: `Bearer ${token}` };
    const discovery = `${doors.httpUrl}/app.git/info/refs?service=git-receive-pack`;
    expect((await send(discovery, { headers })).status).toBe(200);
    await store.removeToken(id);
    expect(await overHttp(doors, headers)("git-receive-pack", "app", pushOfBlob("raw", "raw\n"))).toMatch(
      /^401 /,
    );
    expect(await doors.server.store.open("app")).toBeUndefined();
    await doors.close();
    await database.close();
  });
});
