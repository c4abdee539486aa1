/** The gateway for contributions in `gitwharf serve`: what the configuration asks for, opened beside the server. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { GitwharfError } from "../base/errors.js";
import type { GatewayOptions } from "../gateway/gateway-options.js";
import type { GitServerOptions } from "../server/git-server-options.js";
import { createDiskRepositoryStore } from "../storage/disk/disk-repository-store.js";
import type { ServiceLogEntry } from "../transport/service-host.js";

export interface GatewayConfiguration extends GatewayOptions {
  /** @default the server's */
  readonly database?: string;
  /** Where pushes are worked on; nothing stays there. @default the system's directory for temporary files */
  readonly directory?: string;
}

export interface ServedGateway {
  /** What `createGitServer` is to be given. */
  readonly options: Pick<GitServerOptions, "beside">;
  /** After the server. Idempotent. */
  close(): Promise<void>;
}

/** @throws server/bad-configuration, database/unavailable */
export async function openServedGateway(given: {
  readonly configuration: GatewayConfiguration;
  readonly server: GitServerOptions;
  readonly log: (entry: ServiceLogEntry) => void;
}): Promise<ServedGateway> {
  const { configuration, server, log } = given;
  const { database = server.database, directory, ...options } = configuration;
  if (database === undefined)
    throw new GitwharfError(
      "server/bad-configuration",
      "gateway.database is missing: sqlite:PATH or postgres://USER@HOST/NAME",
    );
  const { createGateway } = await import("../gateway/gateway.js");
  const scratch = await mkdtemp(
    join(directory === undefined ? tmpdir() : resolve(directory), "gitwharf-gateway-"),
  );
  const remove = (): Promise<void> => rm(scratch, { recursive: true, force: true, maxRetries: 3 });
  const store = createDiskRepositoryStore({ directory: scratch, durability: "none" });
  try {
    const gateway = await createGateway({ options, database, scratch: store, log });
    let closed: Promise<void> | undefined;
    return {
      options: { beside: gateway.handler },
      close: () =>
        (closed ??= (async () => {
          await gateway.close();
          await store.close();
          await remove();
        })()),
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
