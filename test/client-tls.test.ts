/** Our own client over TLS: whom it trusts, and that it does not leave TLS again. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRemote, type RemoteOptions } from "../src/client/index.js";
import { writeCertificate } from "./support/certificate.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { ADVERTISEMENT, RESULT, V2 } from "./support/scripted-server.js";

let workspace: GitClient;
let server: Server;
let ca: string;
let port: number;
let authorization: string | undefined;

beforeAll(async () => {
  workspace = createWorkspace();
  const { certificateFile, keyFile } = await writeCertificate(workspace.directory, "localhost");
  ca = readFileSync(certificateFile, "utf8");
  server = createServer({ cert: ca, key: readFileSync(keyFile) }, (request, response) => {
    ({ authorization } = request.headers);
    request.resume();
    if (request.url?.startsWith("/down/") === true)
      response.writeHead(302, { Location: `http://localhost:${port}${request.url}` }).end();
    else if (request.method === "GET") response.writeHead(200, ADVERTISEMENT).end(V2);
    else response.writeHead(200, RESULT).end("0000");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  removeDirectory(workspace);
});

async function list(path: string, options: RemoteOptions): Promise<unknown> {
  const remote = openRemote(`https://localhost:${port}${path}`, options);
  try {
    return await remote.listRefs();
  } catch (error) {
    return error;
  } finally {
    remote.close();
  }
}

describe("the client over TLS", () => {
  it("trusts nobody whom it does not know", async () => {
    expect(await list("/app.git", {})).toMatchObject({
      code: "client/bad-answer",
      message: expect.stringContaining("certificate cannot be trusted"),
    });
  });

  it("trusts an authority that is named, and sends it credentials", async () => {
    expect(await list("/app.git", { ca, credentials: { token: "secret" } })).toMatchObject({ refs: [] });
    expect(authorization).toBe("Bearer secret");
  });

  it("does not go on without TLS", async () => {
    expect(await list("/down/app.git", { ca })).toMatchObject({
      code: "client/not-callable",
      message: expect.stringContaining("redirects to http"),
    });
  });
});
