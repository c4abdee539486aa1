/** Apps and Git behind one listener: whose a request is, and what a page elsewhere can reach while the server is open. */
import { once } from "node:events";
import { createServer, request, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openApps, type Apps, type GitServer } from "../src/index.js";
import {
  createMemoryRecords,
  createWorkshop,
  plainRunner,
  releaseOf,
  type Workshop,
} from "../src/deploy/launch/launch.test.support.js";
import { createGitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workshop: Workshop;
let workspace: GitClient;
let apps: Apps;
let git: GitServer;
let port: number;

async function open(options: Partial<Parameters<typeof createGitServer>[0]> = {}): Promise<void> {
  apps = openApps({
    records: createMemoryRecords(),
    directory: `${workshop.directory}/apps`,
    runner: plainRunner,
    hosts: { "www.example.org": "shop" },
    log: () => undefined,
  });
  git = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    front: apps.frontFor,
    log: () => undefined,
    ...options,
  });
  ({ port } = (await git.listen({ http: 0 })).http);
}

beforeEach(() => {
  workshop = createWorkshop();
  workspace = createWorkspace();
});
afterEach(async () => {
  await git.close({ graceMs: 0 });
  await apps.close();
  removeDirectory(workspace);
  workshop.remove();
});

async function get(
  host: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number | undefined; readonly body: string }> {
  const asked = request({ port, host: "127.0.0.1", path, headers: { host, ...headers }, agent: false });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) body += chunk.toString();
  return { status: answer.statusCode, body };
}

const launchSite = (): Promise<void> =>
  apps.launcher.launch(
    releaseOf({
      slugPath: workshop.slug({ "index.html": "the shop", "app.git/info/refs": "a file of the site" }),
      processTypes: { static: "." },
    }),
  );

describe("apps and Git behind one listener", () => {
  it("are told apart by the host's name alone", async () => {
    await open();
    await launchSite();
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    await app.run("commit", "-q", "--allow-empty", "-m", "first");
    await app.run("push", "-q", `http://127.0.0.1:${port}/app.git`, "main");
    for (const host of ["shop.localhost", `SHOP.localhost.:${port}`, "www.example.org"])
      expect(await get(host, "/")).toEqual({ status: 200, body: "the shop" });
    // The same path is Git's here and the site's there.
    const path = "/app.git/info/refs?service=git-upload-pack";
    expect((await get("localhost", path)).body).toContain("# service=git-upload-pack");
    expect((await get("shop.localhost", path)).body).toBe("a file of the site");
    expect((await get("other.localhost", path)).status).toBe(404);
    expect((await get("a.b.localhost", path)).status).toBe(404);
  });

  it("keep a page elsewhere out while the server is open to its own machine", async () => {
    await open();
    await launchSite();
    for (const host of ["evil.example", `evil.example:${port}`, "shop.localhost.evil.example"])
      expect((await get(host, "/app.git/info/refs?service=git-upload-pack")).status, host).toBe(403);
  });

  it("tell an app who calls, by what a listed proxy says", async () => {
    const echo = createServer((asked, answer) => answer.end(String(asked.headers["x-forwarded-for"])));
    echo.listen(0, "127.0.0.1");
    await once(echo, "listening");
    const target = (echo.address() as AddressInfo).port;
    // A process that hands on to the listener of this test.
    const slugPath = workshop.slug({
      "server.js": `require("node:net").createServer((a) => { const b = require("node:net").connect(${target}, "127.0.0.1"); a.pipe(b).pipe(a); a.on("error", () => b.destroy()); b.on("error", () => a.destroy()); }).listen(process.env.PORT, "127.0.0.1");`,
    });
    await open();
    const release = releaseOf({ slugPath, processTypes: { web: `${process.execPath} server.js` } });
    await apps.launcher.launch(release);
    const lie = { "x-forwarded-for": "192.0.2.9" };
    expect((await get("shop.localhost", "/", lie)).body).toBe("127.0.0.1");
    await git.close({ graceMs: 0 });
    await apps.close();
    await open({ trustedProxies: ["127.0.0.1"], authenticate: () => undefined });
    await apps.launcher.launch(release);
    expect((await get("shop.localhost", "/", lie)).body).toBe("192.0.2.9, 127.0.0.1");
    echo.close();
  });

  it("hand on WebSockets, and nothing is said on standard error of it", async () => {
    const warnings: string[] = [];
    const onWarning = ({ name, message }: Error): void => void warnings.push(`${name}: ${message}`);
    process.on("warning", onWarning);
    await open();
    const slugPath = workshop.slug({
      "server.js": `require("node:http").createServer().on("upgrade", (asked, socket) => { socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n"); socket.pipe(socket); }).listen(process.env.PORT, "127.0.0.1");`,
    });
    const web = `${process.execPath} server.js`;
    await apps.launcher.launch(releaseOf({ slugPath, processTypes: { web } }));
    const socket = connect(port, "127.0.0.1");
    socket.write(
      "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping",
    );
    let got = "";
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      got += chunk.toString();
      if (got.endsWith("ping")) break;
    }
    process.off("warning", onWarning);
    expect([got, warnings]).toEqual([expect.stringMatching(/^HTTP\/1\.1 101 /), []]);
  });

  it("closes with the server", async () => {
    await open();
    await launchSite();
    await git.close({ graceMs: 0 });
    const socket = connect(port, "127.0.0.1");
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNREFUSED");
  });
});
