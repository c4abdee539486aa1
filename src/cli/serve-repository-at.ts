/**
 * One Git service on one repository over standard input and output. The caller is who started the process: the
 * operating system's permissions decide what it may do.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { resolve } from "node:path";
import { createPanicSwitch } from "../access/panic-switch.js";
import { DEFAULT_LIMITS } from "../base/limits.js";
import { closeWorkerPool } from "../base/worker-pool.js";
import type { ConfiguredHandlers } from "./configured-handlers.js";
import { createStdioAudit } from "./stdio-audit.js";
import { AGENT } from "../server/version.js";
import { openDiskRepositoryAt } from "../storage/disk/disk-repository-store.js";
import { protocolVersion } from "../transport/service-contexts.js";
import { createStdioSignal, createStdoutSink, flushStdout } from "./stdio.js";

export interface ServeRepositoryOptions {
  readonly service: "upload-pack" | "receive-pack" | "upload-archive";
  readonly statelessRpc: boolean;
  readonly advertiseOnly: boolean;
  /** Handlers and hooks of this configuration file. @default none */
  readonly hooksOf?: string | undefined;
  readonly repositoryHooks?: boolean;
  /** @default true */
  readonly collisionDetection?: boolean;
  /** @default there is no panic switch: a repository does not know those beside it */
  readonly panicFile?: string | undefined;
  /** @default nothing is written down */
  readonly auditLog?: string | undefined;
}

async function readConfigured(file: string, path: string): Promise<ConfiguredHandlers> {
  const { readConfiguredHandlers } = await import("./configured-handlers.js");
  return readConfiguredHandlers(file, path);
}

const OPERATIONS = { "upload-pack": "fetch", "receive-pack": "push", "upload-archive": "archive" } as const;

export async function serveRepositoryAt(path: string, options: ServeRepositoryOptions): Promise<void> {
  const panic = createPanicSwitch(options.panicFile === undefined ? undefined : resolve(options.panicFile));
  await panic.admit(OPERATIONS[options.service]);
  const { auditLog } = options;
  const audit =
    auditLog === undefined || options.advertiseOnly ? undefined : createStdioAudit(auditLog, path);
  if (options.service === "receive-pack") await audit?.admitPush();
  const configured = options.hooksOf === undefined ? undefined : await readConfigured(options.hooksOf, path);
  const repository = await openDiskRepositoryAt(path, { name: configured?.name });
  const signal = createStdioSignal();
  const output = createStdoutSink(signal);
  const version = protocolVersion(process.env["GIT_PROTOCOL"]);
  const common = {
    repository,
    settings: await repository.settings(),
    limits: DEFAULT_LIMITS,
    identity: { user: process.env["USER"] },
    agent: AGENT,
    sessionId: randomUUID(),
    signal,
  };
  const streams = { input: process.stdin, output, statelessRpc: options.statelessRpc };
  try {
    if (options.service === "upload-archive") {
      const { serveUploadArchive } = await import("../protocol/upload-archive/serve-upload-archive.js");
      const { failure } = await serveUploadArchive(common, streams);
      await audit?.ended("archive", failure);
    } else if (options.service === "upload-pack") {
      const { advertiseUploadPack } = await import("../protocol/upload-pack/advertise-upload-pack.js");
      const { serveUploadPack } = await import("../protocol/upload-pack/serve-upload-pack.js");
      const { converseUploadPack } = await import("../transport/conversation.js");
      const context = { ...common, version };
      if (options.advertiseOnly) await output.write(...(await advertiseUploadPack(context)));
      else {
        const serve = options.statelessRpc ? serveUploadPack : converseUploadPack;
        const { failure } = await serve(context, streams);
        await audit?.ended("fetch", failure);
      }
    } else {
      const { createRepositoryHooks } = await import("../hooks/repository-hooks.js");
      const { advertiseReceivePack } = await import("../protocol/receive-pack/advertise-receive-pack.js");
      const { serveReceivePack } = await import("../protocol/receive-pack/serve-receive-pack.js");
      const { converseReceivePack } = await import("../transport/conversation.js");
      const context = {
        ...common,
        place: undefined,
        version: version === 1 ? (1 as const) : (0 as const),
        transport: "stdio" as const,
        address: undefined,
        authorize: () => undefined,
        ...(configured === undefined ? {} : { handlerTimeoutMs: configured.handlerTimeoutMs }),
        handlers: [
          ...(configured?.handlers ?? []),
          ...(options.repositoryHooks === true ? [createRepositoryHooks({ environment: process.env })] : []),
          panic.handler,
        ],
        recorder: audit?.recorder,
        verifyPushCertificate: undefined,
        collisionDetection: options.collisionDetection ?? true,
        onHandlerError: (handler: string, error: unknown) =>
          void process.stderr.write(
            `error: ${handler}: ${error instanceof Error ? error.message : "it failed"}\n`,
          ),
      };
      if (options.advertiseOnly) await output.write(...(await advertiseReceivePack(context)));
      else if (options.statelessRpc) await serveReceivePack(context, streams);
      else await converseReceivePack(context, streams);
    }
    await flushStdout();
  } finally {
    await repository.close();
    await configured?.close();
    await audit?.close();
    await closeWorkerPool();
    process.stdin.destroy();
    if (!process.stdin.destroyed) await once(process.stdin, "close");
  }
}
