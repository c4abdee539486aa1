/**
 * One call of a Git service, before any protocol byte: authorize, take a place in the repository's queue, open.
 * The same for every transport; it is asked on every request, discovery and POST alike.
 *
 * A push to a repository that does not exist is given one that nobody else sees (`PreparedRepository`).
 */
import { addressKey } from "../access/rates/address-key.js";
import { type Activity, inStep, type ServiceLabel } from "../base/activity.js";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { type AuthorizationRequest, isReading, type Operation } from "../engine/authorization.js";
import type { Identity, PushCommand } from "../engine/push.js";
import type { IsHiddenRef } from "../protocol/hidden-refs.js";
import type { PlacedRepository } from "../protocol/receive-pack/receive-pack-context.js";
import { type PointInTime, splitPastName } from "../storage/contracts/past-name.js";
import type { PreparedRepository, Repository } from "../storage/contracts/repository.js";
import type { RepositorySettings } from "../storage/contracts/repository-settings.js";
import type { ServiceHost } from "./service-host.js";

export interface ServiceCaller {
  readonly identity: Identity;
  readonly address: string | undefined;
  readonly transport: "http" | "ssh" | "git";
  /** What is made known of the request. */
  readonly activity: Activity;
}

export interface ServiceCallOptions {
  readonly host: ServiceHost;
  readonly caller: ServiceCaller;
  /** Checked name without `.git`; `NAME@{…}` where the past is served. */
  readonly name: string;
  readonly operation: Extract<Operation, "fetch" | "push" | "archive">;
  /** A discovery request never creates a repository: it is shown an empty one. */
  readonly discovery: boolean;
  /** As observers know it. @default from operation and discovery */
  readonly service?: ServiceLabel;
  /** Asked of the repository that the name stands for, before authorization. */
  readonly requireServed?: ((name: string) => Promise<void>) | undefined;
  readonly signal: AbortSignal;
}

export interface ServiceCall {
  /** Of the repository; not always the one that was asked for. */
  readonly name: string;
  /** What the resolver told of the name that was asked for. */
  readonly facts: Facts;
  readonly repository: Repository;
  readonly settings: RepositorySettings;
  /** Hides refs from this caller, besides what the settings hide. */
  readonly isHiddenRef: IsHiddenRef | undefined;
  /**
   * There when the push makes the repository, which nobody sees before this is called.
   * @throws storage/not-found, storage/bad-name, storage/io, protocol/service-disabled
   */
  readonly place: (() => Promise<PlacedRepository>) | undefined;
  /** When the answer is out, or as good as. Idempotent. What was not placed goes. */
  release(): Promise<void>;
}

type Facts = AuthorizationRequest["facts"] | undefined;

const SERVICES = { fetch: "upload-pack", push: "receive-pack", archive: "upload-archive" } as const;
const DISCOVERIES = {
  fetch: "upload-pack-refs",
  push: "receive-pack-refs",
  archive: "upload-archive",
} as const;

/**
 * @throws access/denied, access/unauthenticated, storage/not-found, protocol/service-disabled, server/busy,
 *   base/aborted
 */
export async function beginServiceCall(options: ServiceCallOptions): Promise<ServiceCall> {
  const { host, caller, operation, discovery, name: askedFor } = options;
  caller.activity.note({
    service: options.service ?? (discovery ? DISCOVERIES : SERVICES)[operation],
    repository: askedFor,
  });
  await host.panic.admit(operation);
  await host.rates.admitService(caller, { push: operation === "push", discovery });
  const { name, at, facts } = await resolveName(options);
  if (at === undefined && name !== askedFor) caller.activity.note({ repository: name });
  await options.requireServed?.(name);
  const resolved = { ...options, name, at, facts, askedFor };
  await requireAuthorization(resolved);
  requireReading(resolved);
  await host.audit?.admit(operation);
  const leave = await takePlace(options, name);
  const call = new Call(resolved, leave);
  try {
    return await call.begin();
  } catch (error) {
    await call.release();
    throw error;
  }
}

/**
 * The repository that this name stands for, for this caller.
 * @throws storage/not-found, and where the name stands for none as `requireAuthorization`: who may not read a
 *   repository does not learn whether it is there; access/unavailable; storage/bad-name
 */
export async function resolveName(
  options: Pick<ServiceCallOptions, "host" | "caller" | "name"> & { readonly operation: Operation },
): Promise<{ readonly name: string; readonly at: PointInTime | undefined; readonly facts: Facts }> {
  const { host, operation, caller } = options;
  const { name, at } = splitPastName(options.name);
  if (host.resolveRepository === undefined) return { name, at, facts: undefined };
  const { identity, address, transport } = caller;
  const found = await host.resolveRepository(name, { identity, operation, address, transport });
  if (found !== undefined) return { name: found.repository, at, facts: found.facts };
  await requireAuthorization({ ...options, name, at, askedFor: options.name });
  throw notFound(options.name);
}

/** @throws storage/read-only */
export function requireReading(about: {
  readonly operation: Operation;
  readonly at: PointInTime | undefined;
  readonly askedFor: string;
}): void {
  if (about.at === undefined || isReading(about.operation)) return;
  throw new GitwharfError("storage/read-only", `'${about.askedFor}' is what was, and can be read only`);
}

interface ResolvedCallOptions extends ServiceCallOptions {
  /** undefined: as it is now. */
  readonly at: PointInTime | undefined;
  readonly facts: Facts;
  /** For messages: people know no other name. */
  readonly askedFor: string;
}

class Call {
  readonly #options: ResolvedCallOptions;
  readonly #leave: () => void;
  readonly #opened: Repository[] = [];
  #prepared: PreparedRepository | undefined;
  #released: Promise<void> | undefined;
  #begun = false;

  constructor(options: ResolvedCallOptions, leave: () => void) {
    this.#options = options;
    this.#leave = leave;
  }

  async begin(): Promise<ServiceCall> {
    const { host, name, facts } = this.#options;
    const repository = await this.#open();
    this.#opened.push(repository);
    await host.admitRepository?.(repository);
    const settings = await this.#settingsOf(repository);
    this.#begun = true;
    const prepared = this.#prepared;
    const place = prepared === undefined ? undefined : () => this.#place(prepared);
    const isHiddenRef = await host.hiddenRefsOf(requestOf(this.#options));
    return { name, facts, repository, settings, isHiddenRef, place, release: () => this.release() };
  }

  async #open(): Promise<Repository> {
    const { host, name, at, askedFor } = this.#options;
    if (at === undefined)
      return (await host.store.open(name, { forRequest: true })) ?? (await this.#openMissing());
    try {
      const past = await host.store.openAt?.(name, at);
      if (past !== undefined) return past;
    } catch (error) {
      if (!isGitwharfError(error, "storage/not-found")) throw error;
    }
    throw new GitwharfError(
      "storage/not-found",
      `repository '${askedFor}' does not exist, or is kept no more`,
    );
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #place(prepared: PreparedRepository): Promise<PlacedRepository> {
    const { host, name } = this.#options;
    let taken: unknown;
    try {
      await prepared.place();
    } catch (error) {
      // Another push made it first, or the operator.
      if (!isGitwharfError(error, "storage/exists")) throw error;
      taken = error;
    }
    const repository = await host.store.open(name);
    if (repository === undefined) throw taken ?? notFound(this.#options.askedFor);
    this.#opened.push(repository);
    return { repository, settings: await this.#settingsOf(repository), isOurs: taken === undefined };
  }

  async #release(): Promise<void> {
    const { host, name, operation, discovery } = this.#options;
    try {
      for (const repository of this.#opened) await repository.close();
      await this.#prepared?.discard();
    } catch (error) {
      // The client's answer does not hang on it, and nobody finds what stays.
      host.log({ level: "error", message: `cleaning up after a request to ${name} failed`, error });
    } finally {
      this.#leave();
    }
    if (operation === "push" && !discovery && this.#begun) host.afterPush(name);
  }

  async #openMissing(): Promise<Repository> {
    const { host, name, operation, discovery } = this.#options;
    const wanted = operation === "push" ? host.autoCreate !== "never" : host.autoCreate === "read";
    if (!wanted) throw notFound(this.#options.askedFor);
    await requireAuthorization({ ...this.#options, operation: "create" });
    if (discovery || operation !== "push") return host.openPhantom(name);
    try {
      this.#prepared = await host.prepareRepository(name);
      return this.#prepared.repository;
    } catch (error) {
      // Another push made it just now: that is as good.
      const other = isGitwharfError(error, "storage/exists") ? await host.store.open(name) : undefined;
      if (other === undefined) throw error;
      return other;
    }
  }

  /** @throws protocol/service-disabled */
  async #settingsOf(repository: Repository): Promise<RepositorySettings> {
    const { host, askedFor, operation, caller } = this.#options;
    const settings = await host.settingsOf(repository);
    const enabled = operation === "push" ? settings.http.receivePack !== false : settings.http.uploadPack;
    if (caller.transport === "http" && !enabled) {
      throw new GitwharfError(
        "protocol/service-disabled",
        `${operation === "push" ? "pushing" : "reading"} over HTTP is switched off for repository '${askedFor}'`,
      );
    }
    return settings;
  }
}

/** @throws access/denied, access/unauthenticated, storage/not-found (for an answer that hides the repository) */
export async function requireAuthorization(
  options: Pick<ServiceCallOptions, "host" | "caller" | "name"> & {
    readonly operation: Operation;
    readonly commands?: readonly PushCommand[];
    readonly at?: PointInTime | undefined;
    readonly facts?: Facts;
    /** @default name */
    readonly askedFor?: string;
  },
): Promise<void> {
  const { host, name, commands, caller, askedFor = name } = options;
  await host.panic.admit(options.operation);
  const answer = await inStep(caller.activity, "authorize", () =>
    host.authorize({ ...requestOf(options), ...(commands === undefined ? {} : { commands }) }),
  );
  if (answer.allowed) return;
  switch (answer.answer ?? "forbid") {
    case "challenge":
      throw new GitwharfError("access/unauthenticated", answer.reason);
    case "hide":
      throw notFound(askedFor);
    case "forbid":
      throw new GitwharfError("access/denied", answer.reason);
  }
}

/** A turn among pushes where they are taken one at a time, then a place in the repository. */
async function takePlace(options: ServiceCallOptions, name: string): Promise<() => void> {
  const { host, operation, discovery, signal } = options;
  const entrant = { caller: callerKey(options), signal };
  if (operation !== "push" || discovery || !host.isSerial(name)) return host.gate.enter(name, entrant);
  const endTurn = await host.pushTurns.enter(name, entrant);
  try {
    const leave = await host.gate.enter(name, entrant);
    return () => {
      leave();
      endTurn();
    };
  } catch (error) {
    endTurn();
    throw error;
  }
}

/** Whose share of a repository's places it is. Behind an exempt address there may be many. */
export function callerKey({ host, caller }: Pick<ServiceCallOptions, "host" | "caller">): string | undefined {
  const { identity, address } = caller;
  if (identity.user !== undefined) return `user ${identity.user}`;
  return host.rates.isExempt(address) ? undefined : addressKey(address);
}

function requestOf({
  caller,
  name,
  at,
  facts,
  operation,
}: Pick<ServiceCallOptions, "caller" | "name"> & {
  readonly operation: Operation;
  readonly at?: PointInTime | undefined;
  readonly facts?: Facts;
}): AuthorizationRequest {
  const { identity, address, transport } = caller;
  const known = { ...(at === undefined ? {} : { at }), ...(facts === undefined ? {} : { facts }) };
  return { identity, repository: name, operation, ...known, address, transport };
}

function notFound(name: string): GitwharfError {
  return new GitwharfError("storage/not-found", `repository '${name}' does not exist`);
}
