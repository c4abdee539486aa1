/** HTTPS: HTTP/1.1 and HTTP/2 by ALPN, and a certificate that changes without a restart. */
import { writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { HttpListener } from "../src/transport/http/listener.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, removeDirectory, type GitClient } from "./support/git-client.js";

describe("HTTPS", () => {
  let workspace: GitClient;
  let server: GitServer;
  let http: HttpListener;

  beforeAll(async () => {
    workspace = createWorkspace();
    const tls = await writeCertificate(workspace.directory, "first.localhost");
    server = createGitServer({ repositories: createMemoryRepositoryStore(), autoCreate: "push" });
    ({ http } = await server.listen({ http: 0, tls }));
  });
  afterAll(async () => {
    await server.close({ graceMs: 0 });
    removeDirectory(workspace);
  });

  it.each(["HTTP/1.1", "HTTP/2"])("pushes and clones over %s", async (version) => {
    const config = ["-c", "http.sslVerify=false", "-c", `http.version=${version}`];
    const name = version.replace(/\W/g, "");
    await workspace.run("init", "-q", name);
    const app = workspace.in(name);
    for (let i = 0; i < 3; i++) await app.run("commit", "-q", "--allow-empty", "-m", String(i));
    await app.run(...config, "push", "-q", `${http.url}/${name}.git`, "main");
    await workspace.run(...config, "clone", "-q", `${http.url}/${name}.git`, `${name}-copy`);
    expect(await workspace.in(`${name}-copy`).run("rev-parse", "HEAD")).toBe(
      await app.run("rev-parse", "HEAD"),
    );
  });

  it("speaks HTTP/2", async () => {
    const session = connectHttp2(http.url, { rejectUnauthorized: false });
    const status = await new Promise((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request({ ":path": "/nothing.git/info/refs?service=git-upload-pack" });
      stream.on("response", (headers) => resolve(headers[":status"]));
      stream.resume();
    });
    session.close();
    expect(status).toBe(404);
  });

  it("reloads its certificate", async () => {
    const nameOf = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connectTls({ host: "127.0.0.1", port: http.port, rejectUnauthorized: false }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on("error", reject);
      });
    expect(await nameOf()).toBe("first.localhost");
    await writeCertificate(workspace.directory, "second.localhost");
    await http.reloadCertificate();
    expect(await nameOf()).toBe("second.localhost");
    // Half of a change, or none: the certificate that is good stays.
    for (const spoilt of ["cert.pem", "key.pem"]) {
      await writeCertificate(workspace.directory, "third.localhost");
      writeFileSync(join(workspace.directory, spoilt), "no certificate");
      await expect(http.reloadCertificate()).rejects.toMatchObject({ code: "server/bad-configuration" });
      expect(await nameOf()).toBe("second.localhost");
    }
  });
});
