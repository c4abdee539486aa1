/**
 * Requests of the real client, damaged at every place: each is answered, none as a failure of the server, and the
 * server goes on.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { flips, lineChanges, type Mutation, truncations } from "./support/mutations.js";
import { send } from "./support/raw-http.js";
import { type RecordedRequest, recordRequests, type RequestRecorder } from "./support/record-requests.js";
import { settled } from "./support/settled.js";

// Much work beside other tests on a small machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

describe("damaged requests", () => {
  let workspace: GitClient;
  let server: TestServer;
  let recorder: RequestRecorder;
  const errors: string[] = [];
  const recorded = new Map<string, RecordedRequest>();

  /** The request that git sent last while it ran a command. */
  async function record(name: string, client: GitClient, ...args: readonly string[]): Promise<void> {
    await client.run(...args);
    const last = recorder.requests.at(-1);
    if (last === undefined) throw new Error("git sent no request");
    recorded.set(name, last);
  }

  beforeAll(async () => {
    workspace = createWorkspace();
    server = await createTestServer({
      repositories: join(workspace.directory, "repositories"),
      durability: "none",
      log: ({ level, message, error }) => {
        if (level === "error")
          errors.push(`${message}: ${error instanceof Error ? error.stack : String(error)}`);
      },
    });
    recorder = await recordRequests(server.url);
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    const commit = async (text: string): Promise<void> => {
      writeFileSync(join(app.directory, "file"), text);
      await app.run("add", "file");
      await app.run("commit", "-q", "-m", text);
    };
    for (const text of ["one", "two", "three"]) await commit(text);
    await app.run("tag", "-a", "-m", "tagged", "v1");
    await app.run("push", "-q", server.urlOf("app"), "main", "v1");
    await workspace.run("clone", "-q", "-b", "main", server.urlOf("app"), "copy");
    await commit("four");
    await app.run("push", "-q", server.urlOf("app"), "main");
    const url = `${recorder.url}/app.git`;
    const copy = workspace.in("copy");
    await record("ls-refs", copy, "ls-remote", url, "main");
    await record("fetch v2", copy, "-c", "protocol.version=2", "fetch", "-q", url, "main");
    await record("shallow fetch v2", copy, "fetch", "-q", "--depth=2", "--filter=tree:2", url, "main");
    await copy.run("update-ref", "-d", "FETCH_HEAD");
    await workspace.run("clone", "-q", "-b", "v1", server.urlOf("app"), "older");
    const older = workspace.in("older");
    await record("fetch v0", older, "-c", "protocol.version=0", "fetch", "-q", "--depth=1", url, "main");
    await commit("five");
    await workspace.in("repositories/app.git").run("config", "receive.advertisePushOptions", "true");
    const refspecs = ["main:refs/heads/five", "main", "v1:refs/tags/again"];
    await record("push", app, "push", "-q", "-o", "an option", url, ...refspecs);
  });
  afterAll(async () => {
    await recorder.close();
    await server.close();
    removeDirectory(workspace);
  });

  async function sendAll(name: string, mutations: Iterable<Mutation>): Promise<void> {
    const { path, headers } = recorded.get(name) as RecordedRequest;
    const wrong: string[] = [];
    const queue = mutations[Symbol.iterator]();
    let sent = 0;
    const work = async (): Promise<void> => {
      for (let next = queue.next(); next.done !== true; next = queue.next()) {
        const { what, bytes } = next.value;
        const before = errors.length;
        const { status, body } = await send(server.url, { path, headers, method: "POST", body: bytes });
        const text = body.toString("latin1");
        sent++;
        if (status >= 500 || /internal error|could not do this/.test(text) || errors.length > before)
          wrong.push(`${what}: ${status} ${text.slice(0, 200)} ${errors.slice(before).join()}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    expect(wrong).toEqual([]);
    expect(sent).toBeGreaterThan(20);
    await settled(server.server);
    const listed = await workspace.run("ls-remote", server.urlOf("app"), "main", "v1");
    expect(listed).toMatch(/refs\/heads\/main\n.*refs\/tags\/v1/s);
  }

  describe.each(["ls-refs", "fetch v2", "shallow fetch v2", "fetch v0", "push"])("%s", (name) => {
    const bytes = (): Buffer => (recorded.get(name) as RecordedRequest).body;

    it("answers what is truncated at any byte", () => sendAll(name, truncations(bytes())));
    it("answers what has any byte changed", () => sendAll(name, flips(bytes(), name === "push" ? 3 : 1)));
    it("answers lines too few, too many and out of order", () => sendAll(name, lineChanges(bytes())));
  });

  it("has kept the repository whole, and nothing of what was refused", async () => {
    const repository = workspace.in("repositories/app.git");
    const checked = await repository.tryWith({}, "fsck", "--strict", "--no-dangling");
    expect(checked).toMatchObject({ status: 0, stderr: "" });
    const objects = join(repository.directory, "objects");
    expect(readdirSync(objects).filter((entry) => !/^(info|pack|[0-9a-f]{2})$/.test(entry))).toEqual([]);
    expect(readdirSync(join(objects, "pack")).filter((entry) => /tmp/.test(entry))).toEqual([]);
  });
});
