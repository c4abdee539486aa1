/**
 * One call of a Git service, before any protocol byte: authorize, take a place in the repository's queue, open.
 * The same for every transport; it is asked on every request, discovery and POST alike.
 */
import { GitwharfError } from "../base/errors.js";
import type { Operation } from "../engine/authorization.js";
import type { Identity, PushCommand } from "../engine/push.js";
import type { Repository } from "../storage/contracts/repository.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import type { ServiceHost } from "./service-host.js";

export interface ServiceCaller {
  readonly identity: Identity;
  readonly address: string | undefined;
  readonly transport: "http" | "ssh" | "git";
}

export interface ServiceCallOptions {
  readonly host: ServiceHost;
  readonly caller: ServiceCaller;
  /** Checked name without `.git`. */
  readonly name: string;
  readonly operation: Extract<Operation, "fetch" | "push">;
  /** A discovery request never creates a repository: it is shown an empty one. */
  readonly discovery: boolean;
  readonly signal: AbortSignal;
}

/** Release exactly once, when the answer is out. */
export interface ServiceCall {
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  release(): Promise<void>;
}

/**
 * @throws access/denied, access/unauthenticated, storage/not-found, protocol/service-disabled, server/busy,
 *   base/aborted
 */
export async function beginServiceCall(options: ServiceCallOptions): Promise<ServiceCall> {
  const { host, name, operation, signal } = options;
  await requireAuthorization(options);
  const leave = await host.gate.enter(name, signal);
  let repository: Repository | undefined;
  try {
    repository = (await host.store.open(name)) ?? (await openMissing(options));
    const settings = await host.settingsOf(repository);
    const enabled = operation === "fetch" ? settings.http.uploadPack : settings.http.receivePack !== false;
    if (options.caller.transport === "http" && !enabled) {
      throw new GitwharfError(
        "protocol/service-disabled",
        `${operation === "fetch" ? "reading" : "pushing"} over HTTP is switched off for repository '${name}'`,
      );
    }
    const opened = repository;
    return {
      repository: opened,
      settings,
      async release() {
        leave();
        await opened.close();
        if (operation === "push" && !options.discovery) host.afterPush(name);
      },
    };
  } catch (error) {
    leave();
    await repository?.close();
    throw error;
  }
}

/** @throws access/denied, access/unauthenticated, storage/not-found (for an answer that hides the repository) */
export async function requireAuthorization(
  options: Pick<ServiceCallOptions, "host" | "caller" | "name"> & {
    readonly operation: Operation;
    readonly commands?: readonly PushCommand[];
  },
): Promise<void> {
  const { host, caller, name, operation, commands } = options;
  const answer = await host.authorize({
    identity: caller.identity,
    repository: name,
    operation,
    address: caller.address,
    transport: caller.transport,
    ...(commands === undefined ? {} : { commands }),
  });
  if (answer.allowed) return;
  switch (answer.answer ?? "forbid") {
    case "challenge":
      throw new GitwharfError("access/unauthenticated", answer.reason);
    case "hide":
      throw notFound(name);
    case "forbid":
      throw new GitwharfError("access/denied", answer.reason);
  }
}

async function openMissing(options: ServiceCallOptions): Promise<Repository> {
  const { host, name, operation, discovery } = options;
  const wanted = operation === "push" ? host.autoCreate !== "never" : host.autoCreate === "read";
  if (!wanted) throw notFound(name);
  await requireAuthorization({ ...options, operation: "create" });
  return discovery || operation === "fetch" ? host.openPhantom(name) : host.createRepository(name);
}

function notFound(name: string): GitwharfError {
  return new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
}
