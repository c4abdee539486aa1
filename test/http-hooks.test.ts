/** HTTP hooks: asked before a push is taken, with all its refs, signed; without a clear answer it is refused. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { verifyMessage } from "../src/base/message-signature.js";
import type { HttpHook } from "../src/hooks/http-hooks.js";
import { createGitServer } from "../src/server/git-server.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { startWebhookReceiver, type WebhookReceiver } from "./support/webhook-receiver.js";

const SECRET = "a secret of the tests";

let receiver: WebhookReceiver;
let workspace: GitClient;
let app: GitClient;
let server: TestServer | undefined;
let logged: ServiceLogEntry[];

beforeEach(async () => {
  receiver = await startWebhookReceiver();
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  logged = [];
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  await receiver.close();
  removeDirectory(workspace);
});

const hook = (more: Partial<HttpHook> = {}): HttpHook => ({
  url: receiver.url,
  secret: SECRET,
  allowAddresses: ["loopback"],
  timeoutMs: 1000,
  retries: 1,
  ...more,
});
async function serve(httpHooks: HttpHook | readonly HttpHook[] = hook()): Promise<void> {
  server = await createTestServer({ httpHooks, log: (entry) => logged.push(entry) });
}
const remote = (name = "app"): string => server?.urlOf(name) ?? "";
function answerWith(value: unknown, status = 200): void {
  receiver.intercept = (_message, response) => {
    response.writeHead(status).end(typeof value === "string" ? value : JSON.stringify(value));
    return true;
  };
}

describe("an HTTP hook", () => {
  it("is asked once for all refs, signed, and its message is printed", async () => {
    await serve();
    answerWith({ allowed: true, message: "checked\nby us" });
    await app.run("tag", "v1");
    const pushed = await app.try("push", remote(), "main", "v1");
    expect(pushed).toMatchObject({ status: 0 });
    expect(pushed.stderr).toMatch(/remote: checked *\nremote: by us/);
    const [asked] = receiver.messages;
    if (asked === undefined) throw new Error("it was not asked");
    expect(receiver.messages).toHaveLength(1);
    const id = await app.run("rev-parse", "HEAD");
    expect(asked.json).toMatchObject({
      version: 1,
      hook: "preReceive",
      repository: "app",
      identity: { user: null },
      transport: "http",
      options: [],
      refs: [
        { name: "refs/heads/main", kind: "branch", old: null, new: id, action: "create" },
        { name: "refs/tags/v1", kind: "tag", old: null, new: id, action: "create" },
      ],
    });
    expect(verifyMessage(SECRET, asked)).toBe(true);
    expect(verifyMessage("the secret of others", asked)).toBe(false);
    answerWith({ allowed: true });
    await app.run("commit", "-q", "--amend", "--allow-empty", "-m", "two");
    await app.run("push", "-q", "--force", remote(), "main");
    await app.run("push", "-q", remote(), ":v1");
    expect(
      receiver.messages.flatMap(({ json }) => json.refs.map((ref: { action: string }) => ref.action)),
    ).toEqual(["create", "create", "force", "delete"]);
  });

  it("refuses a push, or one of its refs, with a reason", async () => {
    await serve();
    answerWith({ allowed: false, reason: "the branch is frozen\nsecond line" });
    const refused = await app.try("push", remote(), "main");
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain("(the branch is frozen)");
    answerWith({ allowed: true, refs: { "refs/heads/two": "not that one" } });
    const some = await app.try("push", remote(), "main", "main:two");
    expect(some.stderr).toContain("(not that one)");
    expect(await app.run("ls-remote", "--heads", remote())).toMatch(/^[0-9a-f]+\trefs\/heads\/main$/);
  });

  it.each([
    ["a status that is none", {}, 204],
    ["a redirection", { allowed: true }, 302],
    ["not found", { allowed: true }, 404],
    ["an error", { allowed: true }, 500],
    ["no JSON", "yes", 200],
    ["nothing", "", 200],
    ["a list", [], 200],
    ["no decision", {}, 200],
    ["a decision that is a text", { allowed: "true" }, 200],
    ["a ref that is not in the push", { allowed: true, refs: { "refs/heads/other": "no" } }, 200],
    ["refs that are none", { allowed: true, refs: "no" }, 200],
    ["a reason that is none", { allowed: false, reason: 7 }, 200],
    ["a message that is none", { allowed: true, message: 7 }, 200],
    ["more than anybody reads", `{"allowed":true,"x":"${"x".repeat(70_000)}"}`, 200],
  ])("that answers with %s has refused", async (_what, value, status) => {
    await serve();
    answerWith(value, status);
    const { status: exit, stderr } = await app.try("push", remote(), "main");
    expect(exit).not.toBe(0);
    expect(stderr).toContain("could not ask whether you may push");
    expect(await app.run("ls-remote", remote()).catch(() => "")).toBe("");
    expect(logged.filter(({ level }) => level === "error")).not.toEqual([]);
  });

  it("is asked again when it is away, with a new id", async () => {
    await serve();
    receiver.intercept = (_message, response) => {
      if (receiver.messages.length === 1) response.writeHead(503).end();
      else response.end('{"allowed":true}');
      return true;
    };
    await app.run("push", "-q", remote(), "main");
    expect(new Set(receiver.messages.map(({ headers }) => headers["webhook-id"])).size).toBe(2);
  });

  it("that says nothing has refused when its time is over", async () => {
    await serve(hook({ timeoutMs: 50, retries: 0 }));
    receiver.intercept = () => true;
    expect((await app.try("push", remote(), "main")).stderr).toContain("could not ask");
  });

  it("is not asked where it may not be called", async () => {
    await serve(hook({ allowAddresses: [], retries: 0 }));
    expect((await app.try("push", remote(), "main")).stderr).toContain("could not ask");
    expect(receiver.messages).toEqual([]);
  });

  it("is asked for its repositories only, one after the other", async () => {
    await serve([hook({ repositories: ["team/**"] }), hook({ url: `${receiver.url}/all` })]);
    answerWith({ allowed: true });
    await app.run("push", "-q", remote(), "main");
    await app.run("push", "-q", remote("team/app"), "main");
    expect(receiver.messages.map(({ path }) => path)).toEqual(["/hook/all", "/hook", "/hook/all"]);
  });

  it.each([
    [{ url: "https://x.example" }, /a secret is a text/],
    [{ url: "https://x.example", secret: SECRET, retries: -1 }, /retries/],
    [{ url: "https://x.example", secret: SECRET, preReceive: true }, /it has no 'preReceive'/],
    [{ url: "https://x.example", secret: SECRET, repositories: "app" }, /list of patterns/],
    ["https://x.example", /an object with a url/],
  ])("is refused as %j", (httpHooks, why) => {
    expect(() =>
      createGitServer({ repositories: workspace.directory, httpHooks: httpHooks as never }),
    ).toThrow(why);
  });
});
