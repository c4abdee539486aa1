/**
 * An application that decides, slow, down and lying while a crowd asks: nobody is let in whom it has not let in, what waits
 * is bounded, what it answers late counts for nobody else, and all is well when it is. (One question at a time:
 * remote-authorization.test.ts.)
 */
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RemoteOptions } from "../src/access/remote/remote-options.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { basicOf, type Doors, openDoors } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";
import { pktLine, send } from "./support/raw-http.js";
import {
  ANSWERED,
  type Question,
  type RemoteTestApplication,
  SECRET,
  startRemoteApplication,
} from "./support/remote-application.js";

const DISCOVERY = "/app.git/info/refs?service=git-upload-pack";
const CROWD = 300;

let workspace: GitClient;
let application: RemoteTestApplication;
let doors: Doors;

beforeEach(async () => {
  workspace = createWorkspace();
  application = await startRemoteApplication();
});
afterEach(async () => {
  await doors.close();
  await application.close().catch(() => undefined);
  removeDirectory(workspace);
});

const serve = async (
  remote: Partial<RemoteOptions> = {},
  options: Partial<GitServerOptions> = {},
): Promise<void> => {
  doors = await openDoors(workspace, {
    authenticate: undefined as never,
    policies: undefined as never,
    anonymousRead: [],
    autoCreate: "read",
    remote: { url: application.url, secret: SECRET, retries: 0, ...remote },
    ...options,
  });
};

/** Ada is let in, by the password `x`. */
function decide({ path, body }: Question): unknown {
  if (path.endsWith("/authenticate")) {
    const { user, password } = body["credentials"] as Record<string, string>;
    return password === "x" ? { identity: { user } } : { refused: "no" };
  }
  const { user } = body["identity"] as { readonly user: string | null };
  return user === "ada" ? { allowed: true } : { allowed: false, reason: "not you" };
}

const ask = async (user: string): Promise<number> =>
  (await send(doors.httpUrl + DISCOVERY, { headers: basicOf(user) })).status;

async function askOverGit(): Promise<string> {
  const request = await openRequest(doors.gitUrl, pktLine("git-upload-pack /app\0host=x\0"));
  request.socket.end();
  return request.closed;
}

async function crowd(): Promise<{ readonly ada: readonly number[]; readonly eve: readonly number[] }> {
  const each = (user: string) => Array.from({ length: CROWD / 2 }, () => ask(user));
  const [ada, eve] = await Promise.all([Promise.all(each("ada")), Promise.all(each("eve"))]);
  return { ada, eve };
}

describe("while a crowd asks, an application that is slow", () => {
  it("is asked so many questions at once, and answers each for who asked", async () => {
    await serve({ concurrencyMax: 4, queueMax: 2 * CROWD });
    let now = 0;
    let most = 0;
    application.answer = (question, response) => {
      most = Math.max(most, ++now);
      setTimeout(() => {
        now--;
        response.end(JSON.stringify(decide(question)));
      }, 2);
      return ANSWERED;
    };
    const { ada, eve } = await crowd();
    expect(most).toBe(4);
    expect(new Set(ada)).toEqual(new Set([200]));
    expect(new Set(eve)).toEqual(new Set([403]));
  });

  it("does not keep more waiting than may wait: the rest is told to come again", async () => {
    await serve({ concurrencyMax: 2, queueMax: 10, timeoutMs: 30_000 });
    const held: (() => void)[] = [];
    let isHolding = true;
    application.answer = (question, response) => {
      if (!isHolding) return decide(question);
      held.push(() => void response.end(JSON.stringify(decide(question))));
      return ANSWERED;
    };
    const statuses: number[] = [];
    const all = Array.from({ length: CROWD }, () => ask("ada").then((status) => statuses.push(status)));
    await expect.poll(() => statuses.length, { timeout: 20_000 }).toBe(CROWD - 12);
    expect(new Set(statuses)).toEqual(new Set([503]));
    expect(held).toHaveLength(2);
    isHolding = false;
    for (const letGo of held) letGo();
    await Promise.all(all);
    expect(statuses.filter((status) => status === 200)).toHaveLength(12);
    expect(await ask("ada")).toBe(200);
  });

  it("answers who asks from elsewhere in his turn, and not behind the crowd", async () => {
    await serve({ concurrencyMax: 1, queueMax: 20, timeoutMs: 30_000 }, { trustedProxies: ["loopback"] });
    const order: unknown[] = [];
    const held: (() => void)[] = [];
    application.answer = (question, response) => {
      held.push(() => {
        order.push(question.body["address"]);
        response.end('{"allowed":false,"reason":"sign in","answer":"challenge"}');
      });
      return ANSWERED;
    };
    const from = (address: string): Promise<number> =>
      send(doors.httpUrl + DISCOVERY, { headers: { "X-Forwarded-For": address } }).then(
        ({ status }) => status,
      );
    let refused = 0;
    const crowded = Array.from({ length: 100 }, () =>
      from("192.0.2.7").then((status) => {
        if (status === 403) refused++;
      }),
    );
    // One is asked about and twenty wait.
    await expect.poll(() => refused, { timeout: 20_000 }).toBe(79);
    const innocent = from("198.51.100.1");
    // The last of the crowd has made room.
    await expect.poll(() => refused, { timeout: 20_000 }).toBe(80);
    let isAnswered = false;
    void innocent.finally(() => (isAnswered = true));
    while (!isAnswered) {
      held.shift()?.();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await innocent).toBe(401);
    expect(order.indexOf("198.51.100.1")).toBeLessThanOrEqual(2);
    const letGo = setInterval(() => held.shift()?.(), 5);
    await Promise.all(crowded);
    clearInterval(letGo);
  });

  it("lets nobody in with an answer that comes too late", async () => {
    await serve({ timeoutMs: 50, breakerFailures: 100_000 });
    const late: (() => void)[] = [];
    application.answer = (_, response) => {
      late.push(() => void response.end('{"allowed":true,"identity":{"user":"ada"}}'));
      return ANSWERED;
    };
    const { ada, eve } = await crowd();
    expect(new Set([...ada, ...eve])).toEqual(new Set([503]));
    for (const answer of late) answer();
    application.answer = decide;
    expect(await ask("eve")).toBe(403);
    expect(await ask("ada")).toBe(200);
  });
});

describe("while a crowd asks, an application that is down", () => {
  it("lets nobody in, is left alone, and is found again", async () => {
    await serve({ breakerFailures: 5, breakerResetMs: 300 });
    let isDown = true;
    application.answer = (question, response) => {
      if (!isDown) return decide(question);
      response.destroy();
      return ANSWERED;
    };
    const { ada, eve } = await crowd();
    expect(new Set([...ada, ...eve])).toEqual(new Set([503]));
    const asked = application.asked.length;
    expect(asked).toBeLessThan(CROWD);
    expect(await askOverGit()).toMatch(/^[0-9a-f]{4}ERR /);
    isDown = false;
    await expect.poll(() => ask("ada"), { timeout: 20_000 }).toBe(200);
    expect(await ask("eve")).toBe(403);
  });
});

describe("while a crowd asks, an application that lies", () => {
  const LIES: readonly ((response: ServerResponse) => void)[] = [
    (response) => void response.end('{"allowed":1,"identity":{"user":["ada"]}}'),
    (response) => void response.end("[]"),
    (response) => void response.writeHead(302, { Location: "/git/authorize" }).end('{"allowed":true}'),
    (response) => void response.writeHead(500).end('{"allowed":true}'),
    (response) => void response.end(`{"allowed":true,"pad":"${"x".repeat(100_000)}"}`),
    (response) => {
      response.writeHead(200, { "Content-Length": "9" }).write("{");
      response.destroy();
    },
    (response) => void response.end('{"identity":{"user":"ada\\nroot"}}'),
  ];

  it("lets nobody in, and nothing of a lie is kept for who asks later", async () => {
    await serve({ breakerFailures: 100_000 });
    let number = 0;
    application.answer = (_, response) => {
      response.setHeader("Cache-Control", "max-age=60");
      LIES[number++ % LIES.length]?.(response);
      return ANSWERED;
    };
    const { ada, eve } = await crowd();
    for (const status of [...ada, ...eve]) expect([403, 503]).toContain(status);
    expect(await askOverGit()).toMatch(/^[0-9a-f]{4}ERR /);
    application.answer = decide;
    expect(await ask("ada")).toBe(200);
    expect(await ask("eve")).toBe(403);
  });
});
