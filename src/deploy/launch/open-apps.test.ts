/** Apps as a whole: releases that take each other's place under load, and a server that is stopped and started again. */
import { once } from "node:events";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { Agent, createServer, request, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LaunchRelease } from "./launch-release.js";
import {
  createMemoryRecords,
  createWorkshop,
  type MemoryRecords,
  plainRunner,
  releaseOf,
  type Workshop,
  until,
} from "./launch.test.support.js";
import { type Apps, type AppsOptions, openApps } from "./open-apps.js";

const NODE = process.execPath;
/** Answers what it is; the first request of a connection to `/slow` is still at work when its process is told to end. */
const SERVER = `
const { createServer } = require("node:http");
const server = createServer((request, response) => {
  const text = process.env.TEXT + " " + process.env.GITWHARF_RELEASE;
  request.resume();
  if (request.url === "/slow") setTimeout(() => response.end(text), 200);
  else response.end(text);
});
server.listen(process.env.PORT, "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
`;

let workshop: Workshop;
let records: MemoryRecords;
let apps: Apps;
let server: Server;
let port: number;

beforeEach(async () => {
  workshop = createWorkshop();
  records = createMemoryRecords();
  open();
  server = createServer((asked, answer) => {
    const front = apps.frontFor({ peerAddressOf: () => undefined, isTrustedProxy: () => false });
    if (!front.request(asked, answer)) answer.end("git");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});
afterEach(async () => {
  server.close();
  server.closeAllConnections();
  await apps.close();
  workshop.remove();
});

function open(options: Partial<AppsOptions> = {}): void {
  apps = openApps({
    records,
    directory: join(workshop.directory, "apps"),
    runner: plainRunner,
    restartDelayMs: () => 10,
    log: () => undefined,
    ...options,
  });
}

function release(number: number, given: Partial<LaunchRelease> = {}): LaunchRelease {
  return releaseOf({
    number,
    id: `shop-${number}`,
    slugPath: workshop.slug({ "server.js": SERVER }),
    processTypes: { web: `${NODE} server.js` },
    config: { TEXT: "shop" },
    ...given,
  });
}

/** As a push does. */
async function deploy(one: LaunchRelease): Promise<void> {
  records.add(one);
  await apps.launcher.launch(one, { onLaunched: () => records.settleRelease(one.id, "launched") });
}

async function get(path = "/", agent: Agent | false = false): Promise<{ status: number; body: string }> {
  const asked = request({ port, host: "127.0.0.1", path, agent, headers: { host: "shop.localhost" } });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) body += chunk.toString();
  return { status: answer.statusCode ?? 0, body };
}

describe("releases that take each other's place", () => {
  it("lose no request of callers who never pause, on connections that stay open and on new ones", async () => {
    await deploy(release(1));
    const agent = new Agent({ keepAlive: true });
    const seen = new Set<string>();
    const wrong: unknown[] = [];
    let isOver = false;
    const caller = async (path: string, by: Agent | false): Promise<void> => {
      while (!isOver) {
        try {
          const { status, body } = await get(path, by);
          if (status === 200) seen.add(body);
          else wrong.push({ status, body });
        } catch (error) {
          wrong.push(error);
        }
      }
    };
    const callers = [caller("/", agent), caller("/", false), caller("/slow", agent), caller("/slow", false)];
    try {
      await deploy(release(2));
      await apps.control.scale("shop", { web: 3 });
      await deploy(release(3));
      await apps.control.scale("shop", { web: 1 });
      await deploy(release(4));
      expect((await get()).body).toBe("shop v4");
    } finally {
      isOver = true;
      await Promise.all(callers);
      agent.destroy();
    }
    expect(wrong).toEqual([]);
    expect(seen).toContain("shop v1");
    expect(seen).toContain("shop v4");
    await until(() => readdirSync(join(workshop.directory, "apps", "shop", "releases")).length === 1);
  });

  it("go back without a request lost when one of them does not come up", async () => {
    await deploy(release(1));
    const broken = release(2, { processTypes: { web: "exit 9" } });
    await expect(deploy(broken)).rejects.toMatchObject({ code: "deploy/launch-failed" });
    expect(await get()).toEqual({ status: 200, body: "shop v1" });
  });

  it("are made of what runs when their turn has come", async () => {
    await deploy(release(1));
    const pushed = deploy(release(2, { config: { TEXT: "pushed" } }));
    // Asked for while v1 still runs: it is a change of v2 all the same.
    const changed = apps.control.setConfig("shop", { TEXT: "changed" }, "ada");
    await Promise.all([pushed, changed]);
    const current = await records.currentRelease("shop");
    expect(current).toMatchObject({
      number: 3,
      slugPath: (await records.listReleases("shop", 2))[1]?.slugPath,
    });
    expect((await get()).body).toBe("changed v3");
    // What is written down last is what runs, however many ask at once.
    await Promise.all([1, 2, 3].map((n) => apps.control.setConfig("shop", { TEXT: `t${n}` }, "ada")));
    const last = await records.currentRelease("shop");
    expect(last?.id).toBe(apps.launcher.releaseOf("shop")?.id);
    expect((await get()).body).toBe(`t3 v${last?.number}`);
  });
});

describe("a server that is started again", () => {
  it("brings back what ran, and says that it is busy until then", async () => {
    await deploy(release(1, { processTypes: { web: `${NODE} server.js`, worker: "sleep 600" } }));
    await apps.control.scale("shop", { web: 2, worker: 1 });
    await apps.close();
    expect((await get()).status).toBe(404);
    open();
    // The listener may be there before.
    expect((await get()).status).toBe(503);
    const starting = apps.start();
    expect((await get()).status).toBe(503);
    await starting;
    await until(async () => (await get()).status === 200);
    expect(apps.launcher.processes("shop")?.map(({ name }) => name)).toEqual(["web.1", "web.2", "worker.1"]);
  });

  it("keeps trying with an app that does not come up, and starts the others", async () => {
    const ready = join(workshop.directory, "ready");
    const late = release(1, { processTypes: { web: `test -f ${ready} || exit 1; ${NODE} server.js` } });
    const other = release(1, { id: "other-1", app: "other", slugPath: join(workshop.directory, "gone.tar") });
    for (const one of [late, other]) {
      records.add(one);
      await records.settleRelease(one.id, "launched");
    }
    const complaints: string[] = [];
    await apps.close();
    open({ log: ({ message }) => complaints.push(message) });
    await apps.start();
    expect((await get()).status).toBe(503);
    expect(complaints).toContain("the app 'other' cannot be started");
    writeFileSync(ready, "");
    await until(async () => (await get()).status === 200);
  });

  it("launches what the shutdown broke off, and does not call it failed", async () => {
    const ready = join(workshop.directory, "ready");
    const web = `test -z "$WAIT" || test -f ${ready} || sleep 600; ${NODE} server.js`;
    await deploy(release(1, { processTypes: { web } }));
    const changed = apps.control.setConfig("shop", { TEXT: "changed", WAIT: "1" }, "ada");
    const outcome = expect(changed).rejects.toMatchObject({ code: "base/shutting-down" });
    const launching = join(workshop.directory, "apps", "shop", "releases");
    await until(() => existsSync(launching) && readdirSync(launching).some((name) => name.startsWith("v2-")));
    await apps.close();
    await outcome;
    expect((await records.listReleases("shop", 1))[0]).toMatchObject({ number: 2, status: "pending" });
    writeFileSync(ready, "");
    open();
    await apps.start();
    expect(await records.currentRelease("shop")).toMatchObject({ number: 2, status: "launched" });
    expect((await get()).body).toBe("changed v2");
  });
});

describe("a server that is stopped", () => {
  it("ends one-off commands, waits for them, and takes the files away", async () => {
    await deploy(release(1));
    const began = join(workshop.directory, "began");
    const ended = join(workshop.directory, "ended");
    const line = `trap 'sleep 0.1; touch ${ended}; exit 0' TERM; touch ${began}; while true; do sleep 0.01; done`;
    const running = apps.control.run("shop", line, new AbortController().signal, () => undefined);
    await until(() => existsSync(began));
    await apps.close();
    expect(existsSync(ended)).toBe(true);
    expect(await running).toBeDefined();
    expect(readdirSync(join(workshop.directory, "apps", "shop", "releases"))).toEqual([]);
  });

  it("begins nothing any more", async () => {
    await deploy(release(1));
    await apps.close();
    await expect(deploy(release(2))).rejects.toMatchObject({ code: "base/shutting-down" });
    await expect(
      apps.control.run("shop", "true", new AbortController().signal, () => undefined),
    ).rejects.toThrow();
  });
});
