/** An application that is asked for every decision: what it says with the real client, and what becomes of its lies. */
import { readFileSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RemoteOptions } from "../src/access/remote/remote-options.js";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import type { ServiceLogEntry } from "../src/transport/service-host.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { send } from "./support/raw-http.js";
import {
  ANSWERED,
  type Question,
  type RemoteTestApplication,
  SECRET,
  startRemoteApplication,
} from "./support/remote-application.js";
import { startServe } from "./support/serve-process.js";
import { createSshClient } from "./support/ssh-client.js";
import { makeSshKey } from "./support/ssh-keygen.js";

const DISCOVERY = "/app.git/info/refs?service=git-upload-pack";
const PASSWORD = "correct-horse";

let application: RemoteTestApplication;
let workspace: GitClient;
let app: GitClient;
let server: GitServer | undefined;
let url: string;
let sshPort: number | undefined;
let logged: ServiceLogEntry[];

beforeEach(async () => {
  application = await startRemoteApplication();
  application.answer = decide;
  workspace = createWorkspace();
  await workspace.run("init", "-q", "app");
  app = workspace.in("app");
  await app.run("commit", "-q", "--allow-empty", "-m", "one");
  logged = [];
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  server = undefined;
  await application.close();
  removeDirectory(workspace);
});

/** Ada may read and push, but not to `main-2`; everybody else is asked to sign in, and Bob sees nothing. */
function decide({ path, body }: Question): unknown {
  if (path === "/git/authenticate") {
    const { user, password } = body["credentials"] as Record<string, string>;
    return password === PASSWORD || user === "git"
      ? { identity: { user: user === "git" ? "ada" : user } }
      : { refused: "no" };
  }
  const { user } = body["identity"] as { readonly user: string | null };
  if (user === null) return { allowed: false, reason: "sign in", answer: "challenge" };
  if (user === "bob") return { allowed: false, reason: "secret", answer: "hide" };
  const refs = (body["refs"] ?? []) as readonly { readonly name: string }[];
  const kept = refs.find(({ name }) => name === "refs/heads/main-2");
  return kept === undefined
    ? { allowed: true }
    : { allowed: false, reason: `${kept.name} is kept\nng refs/heads/main x` };
}

async function serve(
  remote: Partial<RemoteOptions> = {},
  options: Partial<GitServerOptions> = {},
): Promise<void> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    remote: { url: application.url, secret: SECRET, retries: 0, ...remote },
    log: (entry) => logged.push(entry),
    ...options,
  });
  const { http, ssh } = await server.listen({ http: 0, ssh: 0 });
  url = http.url;
  sshPort = ssh?.port;
}

const as = (user: string, password = PASSWORD): string =>
  `${url.replace("://", `://${user}:${password}@`)}/app.git`;
const basic = (user: string, password = PASSWORD): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});
const discover = (headers: Record<string, string> = {}): ReturnType<typeof send> =>
  send(`${url}${DISCOVERY}`, { headers });
const messages = (): string => logged.map(({ message }) => message).join("\n");

describe("an application that is asked", () => {
  it("is told of all refs of a push in one signed question, and its reason reaches the person", async () => {
    await serve();
    await app.run("push", "-q", as("ada"), "main", "main:one", "main:two");
    const aboutRefs = application.asked.filter(({ body }) => body["refs"] !== undefined);
    expect(aboutRefs).toHaveLength(1);
    const id = await app.run("rev-parse", "main");
    const null40 = "0".repeat(40);
    expect(aboutRefs[0]?.body).toEqual({
      version: 1,
      identity: { user: "ada", method: "remote", credentialId: null, attributes: {} },
      repository: "app",
      operation: "push",
      refs: ["main", "one", "two"].map((name) => ({
        name: `refs/heads/${name}`,
        old: null40,
        new: id,
        action: "create",
      })),
      address: "127.0.0.1",
      transport: "http",
    });
    const refused = await app.try("push", as("ada"), "main:main-2", "main:three");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("refs/heads/main-2 is kept)");
    expect(refused.stderr).not.toContain("ng refs");
    expect(await app.run("ls-remote", "--heads", as("ada"))).not.toContain("three");
    expect(application.refused).toEqual([]);
    expect(messages()).not.toContain(PASSWORD);
    expect(messages()).not.toContain(SECRET);
    expect(messages()).toContain(
      "remote application: push 'app' (2 refs) for ada denied: refs/heads/main-2 is kept",
    );
  });

  it("asks strangers to sign in, refuses wrong passwords, and hides", async () => {
    await serve();
    await app.run("push", "-q", as("ada"), "main");
    expect((await app.try("ls-remote", `${url}/app.git`)).stderr).toContain("could not read Username");
    expect((await app.try("ls-remote", as("ada", "wrong"))).stderr).toContain("Authentication failed");
    expect((await app.try("ls-remote", as("bob"))).stderr).toContain("not found");
    expect((await discover()).status).toBe(401);
    expect((await discover(basic("ada"))).status).toBe(200);
    expect((await discover(basic("bob"))).status).toBe(404);
  });

  it("is asked about SSH keys, by fingerprint and line", async () => {
    const key = makeSshKey(workspace.directory, "laptop");
    await serve();
    const client = createSshClient({ directory: workspace.directory, port: sshPort ?? 0, keys: [key.path] });
    const pushed = await app.tryWith(
      { env: client.environment },
      "push",
      `ssh://git@127.0.0.1:${sshPort}/app.git`,
      "main",
    );
    expect(pushed).toMatchObject({ status: 0 });
    const [first] = application.asked;
    expect(first?.path).toBe("/git/authenticate");
    expect(first?.body["credentials"]).toMatchObject({
      kind: "ssh-key",
      user: "git",
      algorithm: "ssh-ed25519",
      fingerprint: expect.stringMatching(/^SHA256:/) as string,
      md5: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      key: `ssh-ed25519 ${key.blob.toString("base64")}`,
    });
    const kept = await app.tryWith(
      { env: client.environment },
      "push",
      `ssh://git@127.0.0.1:${sshPort}/app.git`,
      "main:main-2",
    );
    expect(kept.stderr).toContain("refs/heads/main-2 is kept");
  });

  it("is held to the grant that it gives", async () => {
    await serve();
    application.answer = (question) =>
      question.path.endsWith("/authenticate")
        ? { identity: { user: "ci", grant: { operations: ["read"] } } }
        : decide(question);
    expect((await app.try("push", as("ci"), "main")).stderr).toContain("403");
    expect((await discover(basic("ci"))).status).toBe(404);
    application.answer = ({ path }) =>
      path.endsWith("/authenticate")
        ? { identity: { user: "ci", grant: { operation: ["read"] } } }
        : { allowed: true };
    expect((await discover(basic("ci"))).status).toBe(503);
  });

  it("is asked once for a push that policies look at ref by ref", async () => {
    await serve({}, { policies: [{ effect: "deny", refs: ["refs/heads/no"] }] });
    await app.run("push", "-q", as("ada"), "main", "main:one", "main:two");
    const aboutRefs = application.asked.filter(({ body }) => body["refs"] !== undefined);
    expect(aboutRefs).toHaveLength(1);
  });

  it("answers no question that was sent before, is old, altered, or signed by another", async () => {
    await serve();
    await discover(basic("ada"));
    const [question] = application.asked;
    if (question === undefined) expect.fail();
    const { headers: given, text } = question;
    const headers = Object.fromEntries(
      ["gitwharf-timestamp", "gitwharf-request-id", "gitwharf-signature"].map((name) => [
        name,
        String(given[name]),
      ]),
    );
    const to = application.url.replace(/\/git$/, "/git/authenticate");
    expect((await send(to, { body: text, headers })).status).toBe(401);
    const fresh = { ...headers, "gitwharf-request-id": "another" };
    expect((await send(to, { body: text, headers: fresh })).status).toBe(401);
    expect((await send(to, { body: text.replace("ada", "eve"), headers })).status).toBe(401);
    expect(application.refused).toEqual(["seen before", "not signed", "not signed"]);
    const before = application.asked.length;
    await server?.close({ graceMs: 0 });
    await serve({ secret: "another secret, long enough" });
    expect((await discover(basic("ada"))).status).toBe(503);
    expect(application.asked).toHaveLength(before);
  });
});

describe("exact actions", () => {
  const noForce = (question: Question): unknown => {
    const refs = (question.body["refs"] ?? []) as readonly Record<string, string>[];
    const forced = refs.find(({ action }) => action === "force");
    return forced === undefined
      ? decide(question)
      : { allowed: false, reason: `no force on ${forced["name"]}` };
  };
  const actionsAsked = (): readonly unknown[] =>
    application.asked.flatMap(({ body }) =>
      body["refs"] === undefined
        ? []
        : [(body["refs"] as { action: string }[]).map(({ action }) => action).toSorted()],
    );
  const pushAll = async (): Promise<string> => {
    await app.run("push", "-q", as("ada"), "main", "main:gone");
    await app.run("commit", "-q", "--allow-empty", "-m", "two");
    await app.run("push", "-q", as("ada"), "main", ":gone");
    await app.run("commit", "-q", "--allow-empty", "--amend", "-m", "three");
    const refused = await app.try("push", "--force", as("ada"), "main", "main:other");
    expect(refused.status).toBe(1);
    return refused.stderr;
  };

  it.each<[string, Partial<GitServerOptions>]>([
    ["without policies", {}],
    ["without any policy in the list", { policies: [] }],
    ["with a policy that decides nothing", { policies: [{ effect: "deny", refs: ["refs/heads/no"] }] }],
  ])("are told in one question a push, %s", async (_, options) => {
    await serve({ exactActions: true }, options);
    application.answer = noForce;
    expect(await pushAll()).toContain("no force on refs/heads/main");
    expect(actionsAsked()).toEqual([
      ["create", "create"],
      ["delete", "update"],
      ["create", "force"],
    ]);
    expect(await app.run("ls-remote", "--heads", as("ada"))).not.toContain("other");
  });

  it("are not asked about what a policy allows, and deny when nobody answers", async () => {
    await serve({ exactActions: true }, { policies: [{ effect: "allow", users: ["ada"] }] });
    application.answer = noForce;
    await app.run("push", "-q", as("ada"), "main");
    expect(actionsAsked()).toEqual([]);
    await server?.close({ graceMs: 0 });
    await serve({ exactActions: true });
    application.answer = (question, response) => {
      if (question.body["refs"] === undefined) return decide(question);
      response.writeHead(200).end("nonsense");
      return ANSWERED;
    };
    const refused = await app.try("push", as("ada"), "main");
    expect(refused.stderr).toContain("[remote rejected] main -> main (the server could not decide");
    expect(await app.run("ls-remote", "--heads", as("ada")).catch(() => "")).toBe("");
  });
});

describe("answers are kept", () => {
  it("as long as they allow it, and never when they do not", async () => {
    await serve();
    const answered = (cacheControl: string): void => {
      application.answer = (question, response) => {
        response.setHeader("Cache-Control", cacheControl);
        return decide(question);
      };
    };
    await discover(basic("ada"));
    await discover(basic("ada"));
    expect(application.asked).toHaveLength(4);
    answered("private, max-age=30");
    await discover(basic("ada"));
    await discover(basic("ada"));
    await discover(basic("ada"));
    expect(application.asked).toHaveLength(6);
    // A wrong password is another question.
    expect((await discover(basic("ada", "wrong"))).status).toBe(401);
    expect(application.asked).toHaveLength(7);
    answered("max-age=30, no-store");
    await discover();
    await discover();
    expect(application.asked).toHaveLength(9);
  });

  it("not at all with cacheSecondsMax: 0", async () => {
    await serve({ cacheSecondsMax: 0 });
    application.answer = (question, response) => {
      response.setHeader("Cache-Control", "max-age=30");
      return decide(question);
    };
    await discover();
    await discover();
    expect(application.asked).toHaveLength(2);
  });
});

type Lie = (response: ServerResponse) => void;
const status =
  (code: number, body = "", headers: Record<string, string> = {}): Lie =>
  (response) =>
    void response.writeHead(code, headers).end(body);
const LIES: Readonly<Record<string, Lie>> = {
  "status 500": status(500),
  "status 500 with a good answer": status(500, '{"allowed":true}'),
  "status 403": status(403, '{"allowed":true}'),
  "status 204": status(204),
  "a redirect": status(302, "", { Location: "/git/elsewhere" }),
  "a redirect that keeps the method": status(307, '{"allowed":true}', { Location: "/git/elsewhere" }),
  "no JSON": status(200, "<html>allowed: true</html>"),
  nothing: status(200, ""),
  null: status(200, "null"),
  "a list": status(200, '[{"allowed":true}]'),
  "a text": status(200, '"allowed"'),
  "allowed as a text": status(200, '{"allowed":"true"}'),
  "allowed as a number": status(200, '{"allowed":1}'),
  "allowed in a prototype": status(200, '{"__proto__":{"allowed":true}}'),
  "denied without a reason": status(200, '{"allowed":false}'),
  "denied in an unknown way": status(200, '{"allowed":false,"reason":"x","answer":"allow"}'),
  "too much": status(200, `{"allowed":true,"x":"${"x".repeat(70_000)}"}`),
  "deep nesting": status(200, "[".repeat(60_000)),
  "half an answer": (response) => {
    response.writeHead(200, { "Content-Length": "100" }).write('{"allowed":true}');
    response.destroy();
  },
  "a closed connection": (response) => void response.destroy(),
};

describe("an application that lies", () => {
  it.each(Object.entries(LIES))("lets nobody in: %s", async (_, lie) => {
    await serve({ authenticate: false }, { authenticate: () => ({ user: "ada" }) });
    application.answer = (_question, response) => {
      lie(response);
      return ANSWERED;
    };
    const answer = await discover(basic("ada"));
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain("could not decide on authorization");
    expect((await app.try("push", as("ada"), "main")).status).not.toBe(0);
    expect(messages()).toMatch(
      /remote application: fetch 'app' for ada denied: (?:it answered|its answer|the connection failed)/,
    );
    expect(application.asked.some(({ path }) => path.includes("elsewhere"))).toBe(false);
  });

  it.each([
    ["no user", { identity: {} }],
    ["a user that is no text", { identity: { user: 7 } }],
    ["a name that is none", { identity: { user: "ada\nroot" } }],
    ["both", { identity: { user: "ada" }, refused: "no" }],
    ["neither", {}],
    ["a grant that is not understood", { identity: { user: "ada", grant: { repos: ["x"] } } }],
  ])("signs nobody in, and git keeps its password: %s", async (_, answer) => {
    await serve();
    application.answer = ({ path }) => (path.endsWith("/authenticate") ? answer : { allowed: true });
    expect((await discover(basic("ada"))).status).toBe(503);
  });
});

describe("an application that is away", () => {
  it("is given a time, and no more", async () => {
    await serve({ timeoutMs: 100 });
    application.answer = () => ANSWERED;
    expect((await discover(basic("ada"))).status).toBe(503);
    expect((await discover()).status).toBe(403);
    expect(messages()).toContain("no answer within 100 ms");
    // One that begins and never ends.
    application.answer = (_, response) => {
      response.writeHead(200).write('{"allowed":true');
      return ANSWERED;
    };
    expect((await discover()).status).toBe(403);
  });

  it("is asked again, under a new id", async () => {
    await serve({ retries: 2 });
    let failures = 2;
    application.answer = (question, response) => {
      if (failures-- <= 0) return decide(question);
      response.writeHead(503).end();
      return ANSWERED;
    };
    expect((await discover()).status).toBe(401);
    expect(application.refused).toEqual([]);
    const ids = application.asked.map(({ headers }) => headers["gitwharf-request-id"]);
    expect(new Set(ids).size).toBe(ids.length);
    expect(messages()).toContain("asking again, because it answered with status 503");
  });

  it("is left alone after some failures in a row, and found again", async () => {
    await serve({ breakerFailures: 2, breakerResetMs: 60_000 });
    let isAway = true;
    application.answer = (question, response) => {
      if (!isAway) return decide(question);
      response.writeHead(502).end();
      return ANSWERED;
    };
    for (let i = 0; i < 5; i++) expect((await discover()).status).toBe(403);
    expect(application.asked).toHaveLength(2);
    expect(messages()).toContain("left alone");
    expect(messages()).not.toContain("it answers again");
    // One that comes back sooner than five questions may take here.
    await server?.close({ graceMs: 0 });
    await serve({ breakerFailures: 2, breakerResetMs: 50 });
    for (let i = 0; i < 2; i++) expect((await discover()).status).toBe(403);
    isAway = false;
    let status = 403;
    for (let looks = 0; looks < 2000 && status === 403; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      ({ status } = await discover());
    }
    expect(status).toBe(401);
    expect(messages()).toContain("it answers again");
  });

  it("is not left alone because a stranger's question gets a wrong answer", async () => {
    await serve({ breakerFailures: 2 });
    application.answer = (question, response) => {
      if (question.body["repository"] === "app") return decide(question);
      response.writeHead(400).end();
      return ANSWERED;
    };
    for (let i = 0; i < 4; i++)
      expect((await send(`${url}${DISCOVERY.replace("app", "odd")}`)).status).toBe(403);
    expect((await discover()).status).toBe(401);
  });

  it("is asked so many questions at once, and so many wait", async () => {
    await serve({ concurrencyMax: 1, queueMax: 1 });
    const held: (() => void)[] = [];
    let isHolding = true;
    const arrived = new Promise<void>((resolve) => {
      application.answer = (question, response) => {
        if (!isHolding) return decide(question);
        held.push(() => void response.end(JSON.stringify(decide(question))));
        resolve();
        return ANSWERED;
      };
    });
    const first = discover();
    await arrived;
    const others = [discover(), discover()];
    expect((await Promise.race(others)).status).toBe(403);
    expect(messages()).toContain("1 questions wait already (queueMax)");
    expect(application.asked).toHaveLength(1);
    isHolding = false;
    held[0]?.();
    const statuses = (await Promise.all([first, ...others])).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([401, 401, 403]);
  });

  it("denies when nobody listens", async () => {
    await serve({ url: "http://127.0.0.1:1/git", retries: 1 });
    expect((await discover(basic("ada"))).status).toBe(503);
    expect((await discover()).status).toBe(403);
    expect(messages()).toContain("the connection failed");
  });
});

describe("the command line", () => {
  it("takes the option from a configuration file", async () => {
    const file = join(workspace.directory, "gitwharf.json");
    writeFileSync(file, JSON.stringify({ remote: { url: application.url, secret: SECRET } }));
    const served = await startServe(join(workspace.directory, "served"), "--config", file);
    try {
      url = served.url;
      await app.run("push", "-q", as("ada"), "main");
      expect((await discover(basic("ada"))).status).toBe(200);
      expect((await discover(basic("ada", "wrong"))).status).toBe(401);
      expect((await discover()).status).toBe(401);
      expect((await discover(basic("bob"))).status).toBe(404);
    } finally {
      await served.end("SIGTERM");
      expect(served.printed()).not.toContain(PASSWORD);
    }
  });
});

describe("the option remote", () => {
  const create = (remote: unknown, more: Partial<GitServerOptions> = {}): (() => unknown) => {
    const options = { repositories: createMemoryRepositoryStore(), remote, ...more } as GitServerOptions;
    return () => createGitServer(options);
  };
  const good = { url: "https://app.example.org/git/", secret: SECRET };

  it.each([
    ["a text", "https://app.example.org", "it is an object"],
    ["a short secret", { ...good, secret: "short" }, "at least 16"],
    ["no url", { secret: SECRET }, "url"],
    ["another scheme", { ...good, url: "ftp://app.example.org" }, "https:"],
    ["http to elsewhere", { ...good, url: "http://app.example.org/git" }, "in the clear"],
    ["a password in the url", { ...good, url: "https://a:b@app.example.org/git" }, "no user"],
    ["a key that is not known", { ...good, timeout: 3 }, "'timeout'"],
    ["a time of 0", { ...good, timeoutMs: 0 }, "timeoutMs"],
    ["a switch as a text", { ...good, authorize: "no" }, "true or false"],
  ])("is refused with %s", (_, remote, why) => {
    expect(create(remote)).toThrow(why);
  });

  it("is taken, and not beside a callback for the same question", () => {
    expect(create(good)).not.toThrow();
    expect(create({ ...good, url: "http://[::1]:80/git" })).not.toThrow();
    expect(create({ ...good, url: "http://app.internal/git", insecure: true })).not.toThrow();
    expect(create(good, { authorize: () => ({ allowed: true }) })).toThrow("remote.authorize to false");
    expect(create({ ...good, authorize: false }, { authorize: () => ({ allowed: true }) })).not.toThrow();
  });
});

interface Schema {
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, unknown>>;
}

describe("the description in OpenAPI", () => {
  it("has every member that a question has", async () => {
    const file = new URL("../../docs/remote-contract.openapi.json", import.meta.url);
    const { components } = JSON.parse(readFileSync(file, "utf8")) as {
      readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
    };
    await serve({ resolve: true });
    application.answer = (question) =>
      question.path.endsWith("/resolve") ? { repository: "found" } : decide(question);
    await app.run("push", "-q", as("ada"), "main");
    const names = {
      "/git/authenticate": "AuthenticateQuestion",
      "/git/authorize": "AuthorizeQuestion",
      "/git/resolve": "ResolveQuestion",
    };
    for (const [path, name] of Object.entries(names)) {
      const asked = application.asked.filter((question) => question.path === path);
      const keys = new Set(asked.flatMap(({ body }) => Object.keys(body)));
      expect([...keys].toSorted()).toEqual(
        Object.keys(components.schemas[name]?.properties ?? {}).toSorted(),
      );
      for (const { body } of asked) expect(body).toMatchObject(requiredOf(components.schemas[name]));
    }
  });
});

function requiredOf(schema: Schema | undefined): Record<string, unknown> {
  return Object.fromEntries((schema?.required ?? []).map((key) => [key, expect.anything() as unknown]));
}
