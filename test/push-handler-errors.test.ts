/**
 * Handlers of the application that throw, with the real client: they refuse, the pusher reads under which id the operator
 * finds why and not what was thrown, and nothing that has happened is told otherwise.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PushHandlers } from "../src/engine/push.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let server: TestServer;
let handlers: PushHandlers;
const logged: ServiceLogEntry[] = [];

const broken = (): never => {
  throw new Error("secret words");
};
const brokenIn =
  (broken: string): NonNullable<PushHandlers["referenceTransaction"]> =>
  (_push, state) => {
    if (state === broken) throw new Error("secret words");
    return true;
  };

beforeEach(async () => {
  logged.length = 0;
  workspace = createWorkspace();
  await workspace.run("init", "-q");
  await workspace.run("commit", "-q", "--allow-empty", "-m", "first");
  server = await createTestServer({
    log: (entry) => logged.push(entry),
    handlers: {
      preReceive: (push) => handlers.preReceive?.(push),
      update: (push, command) => handlers.update?.(push, command),
      referenceTransaction: (push, state, commands) =>
        handlers.referenceTransaction?.(push, state, commands) ?? true,
      postReceive: (push, commands) => handlers.postReceive?.(push, commands),
    },
  });
});
afterEach(async () => {
  await server.close();
  removeDirectory(workspace);
});

/** What the client said, once it says nothing of the secret and its id is the log's. */
async function push(expected: number): Promise<string> {
  const { status, stderr } = await workspace.try("push", server.urlOf("app"), "main");
  expect(status, stderr).toBe(expected);
  expect(stderr).not.toContain("secret");
  const error = logged.find(({ level }) => level === "error");
  expect(String(error?.error)).toContain("secret words");
  const id = String(error?.fields?.["requestId"]);
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
  return stderr.replaceAll(id, "ID");
}

const refs = async (): Promise<string> => (await workspace.try("ls-remote", server.urlOf("app"))).stdout;

describe("a handler that throws refuses and names the request", () => {
  it.each<[string, PushHandlers, string]>([
    ["preReceive", { preReceive: broken }, "pre-receive hook declined (request ID)"],
    ["update", { update: broken }, "hook declined (request ID)"],
    [
      "referenceTransaction",
      { referenceTransaction: brokenIn("prepared") },
      "ref updates aborted by hook (request ID)",
    ],
  ])("%s", async (_name, given, reason) => {
    handlers = given;
    expect(await push(1)).toContain(`! [remote rejected] main -> main (${reason})`);
    expect(await refs()).toBe("");
  });
});

describe("a handler that throws once the refs have moved", () => {
  it("does not make a failure of the push: postReceive", async () => {
    handlers = { postReceive: broken };
    expect(await push(0)).toContain("remote: warning: the post-receive handler failed (request ID)");
    expect(await refs()).toContain("refs/heads/main");
  });

  it("does not make a failure of the push: referenceTransaction", async () => {
    handlers = { referenceTransaction: brokenIn("committed") };
    await push(0);
    expect(await refs()).toContain("refs/heads/main");
  });
});
