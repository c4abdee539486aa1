/**
 * upload-pack alone, for tests of it: over HTTP (a request for each round) and as a git daemon (one connection), over
 * the same directory of repositories. Without access, queues and timeouts, which are the transports' own.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { createGunzip } from "node:zlib";
import type { ByteSink, ByteSource } from "../../src/base/byte-streams.js";
import { DEFAULT_LIMITS, type Limits } from "../../src/base/limits.js";
import { advertiseUploadPack } from "../../src/protocol/upload-pack/advertise-upload-pack.js";
import { serveUploadPack } from "../../src/protocol/upload-pack/serve-upload-pack.js";
import type { UploadPackContext } from "../../src/protocol/upload-pack/upload-pack-context.js";
import { encodePktLine, FLUSH, PktLineReader } from "../../src/protocol/wire/pkt-line.js";
import type { RepositorySettings } from "../../src/storage/contracts/repository-settings.js";
import { openDiskRepositoryAt } from "../../src/storage/disk/disk-repository-store.js";

export interface UploadPackServer {
  httpUrl(name: string): string;
  gitUrl(name: string): string;
  /** What went wrong and was told to clients, in order. */
  readonly failures: unknown[];
  /** What happened outside the protocol; tests expect none. */
  readonly crashes: unknown[];
  close(): Promise<void>;
}

export interface UploadPackServerOptions {
  readonly root: string;
  readonly limits?: Partial<Limits>;
  readonly adjust?: (settings: RepositorySettings) => RepositorySettings;
}

type Version = UploadPackContext["version"];

export async function startUploadPackServer(options: UploadPackServerOptions): Promise<UploadPackServer> {
  const failures: unknown[] = [];
  const crashes: unknown[] = [];

  const withContext = async (
    name: string,
    about: { readonly version: Version; readonly signal: AbortSignal; readonly connection: boolean },
    use: (context: UploadPackContext) => Promise<void>,
  ): Promise<void> => {
    const repository = await openDiskRepositoryAt(join(options.root, name));
    const snapshot = about.connection && about.version !== 2 ? await repository.snapshot() : undefined;
    const settings = await repository.settings();
    try {
      await use({
        repository,
        settings: options.adjust?.(settings) ?? settings,
        limits: { ...DEFAULT_LIMITS, ...options.limits },
        identity: { user: undefined },
        agent: "gitwharf/test",
        version: about.version,
        signal: about.signal,
        sessionId: "session-1",
        snapshot,
      });
    } finally {
      snapshot?.release();
      await repository.close();
    }
  };

  const serve = async (
    context: UploadPackContext,
    input: ByteSource,
    output: ByteSink,
    statelessRpc: boolean,
  ) => {
    const outcome = await serveUploadPack(context, { input, output, statelessRpc });
    if (outcome.failure !== undefined) failures.push(outcome.failure);
  };

  const onRequest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const version = protocolVersion(String(request.headers["git-protocol"] ?? ""));
    const signal = abortedWhenClosed(response);
    const output = sinkOf(response, signal);
    const name = url.pathname.slice(1).replace(/\/(info\/refs|git-upload-pack)$/, "");
    await withContext(name, { version, signal, connection: false }, async (context) => {
      response.setHeader("Cache-Control", "no-cache");
      if (url.pathname.endsWith("/info/refs")) {
        response.setHeader("Content-Type", "application/x-git-upload-pack-advertisement");
        if (version !== 2) await output.write(encodePktLine("# service=git-upload-pack\n"), FLUSH);
        await output.write(...(await advertiseUploadPack(context)));
      } else {
        response.setHeader("Content-Type", "application/x-git-upload-pack-result");
        const gzipped = request.headers["content-encoding"] === "gzip";
        await serve(context, gzipped ? request.pipe(createGunzip()) : request, output, true);
      }
    });
    response.end();
  };

  /** Specification: gitprotocol-pack "Git Transport". */
  const onConnection = async (socket: Socket): Promise<void> => {
    const signal = abortedWhenClosed(socket);
    const reader = new PktLineReader(socket, { totalBytesMax: 65_520, limitName: "requestBytesMax" });
    const packet = await reader.next();
    if (packet.kind !== "data") return;
    const [command = "", , , ...parameters] = packet.payload.toString().split("\0");
    const name = command.slice("git-upload-pack /".length);
    const version = protocolVersion(parameters.join(":"));
    await withContext(name, { version, signal, connection: true }, async (context) => {
      const output = sinkOf(socket, signal);
      await output.write(...(await advertiseUploadPack(context)));
      await serve(context, reader.rest(), output, false);
    });
    socket.end();
  };

  const http = createHttpServer((request, response) => {
    onRequest(request, response).catch((error: unknown) => {
      if (!response.destroyed) crashes.push(error);
      response.destroy();
    });
  });
  const daemon = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    onConnection(socket).catch((error: unknown) => {
      if (!socket.destroyed) crashes.push(error);
      socket.destroy();
    });
  });
  const [httpPort, gitPort] = [await listen(http), await listen(daemon)];
  return {
    httpUrl: (name) => `http://127.0.0.1:${httpPort}/${name}`,
    gitUrl: (name) => `git://127.0.0.1:${gitPort}/${name}`,
    failures,
    crashes,
    async close() {
      http.closeAllConnections();
      await Promise.all([http, daemon].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function protocolVersion(text: string): Version {
  const items = text.split(":");
  return items.includes("version=2") ? 2 : items.includes("version=1") ? 1 : 0;
}

function abortedWhenClosed(stream: Socket | ServerResponse): AbortSignal {
  const controller = new AbortController();
  stream.once("close", () => controller.abort());
  return controller.signal;
}

function sinkOf(stream: Writable, signal: AbortSignal): ByteSink {
  return {
    write(...chunks) {
      signal.throwIfAborted();
      let ready = true;
      for (const chunk of chunks) ready = stream.write(chunk);
      return ready ? undefined : once(stream, "drain", { signal }).then(() => undefined);
    },
  };
}
