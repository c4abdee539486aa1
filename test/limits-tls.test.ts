/** Time limits where they are other code: handshakes, heads and silent sessions over TLS. */
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTls } from "node:tls";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";
import { openRequest } from "./support/open-request.js";

describe("time limits over TLS", () => {
  let workspace: GitClient;
  let server: GitServer;
  let url: string;

  beforeAll(async () => {
    workspace = createWorkspace();
    const tls = await writeCertificate(workspace.directory);
    server = createGitServer({
      repositories: createMemoryRepositoryStore(),
      limits: { headerTimeoutMs: 200, idleTimeoutMs: 200 },
    });
    ({ url } = (await server.listen({ http: 0, tls })).http);
  });
  afterAll(async () => {
    await server.close({ graceMs: 0 });
    removeDirectory(workspace);
  });

  it("closes a connection that never begins its handshake, or breaks it", async () => {
    expect(await (await openRequest(url)).closed).toBe("");
    expect(await (await openRequest(url, "this is no TLS\r\n\r\n")).closed).not.toContain("HTTP/1.1 2");
  });

  it("closes a connection whose request head never ends", async () => {
    const { port } = new URL(url);
    const socket = connectTls({
      port: Number(port),
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ALPNProtocols: ["http/1.1"],
    });
    await once(socket, "secureConnect");
    socket.resume();
    socket.write("GET /app.git/HEAD HTTP/1.1\r\nX-Never: ");
    await once(socket, "close");
  });

  it("closes an HTTP/2 session in which nothing moves", async () => {
    const session = connectHttp2(url, { rejectUnauthorized: false });
    await once(session, "connect");
    await once(session, "close");
    expect(session.destroyed).toBe(true);
  });
});
