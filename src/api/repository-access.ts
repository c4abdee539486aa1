/** The way to one repository: which one is meant, may the caller do this with it, and a place in its queue. */
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { isReading, type Operation } from "../engine/authorization.js";
import type { Repository } from "../storage/contracts/repository.js";
import type { HttpExchange } from "../transport/http/answer-request.js";
import { callerKey, requireAuthorization } from "../transport/service-call.js";
import type { ServiceHost } from "../transport/service-host.js";

/** In the place of one: for what is about all of them. No repository can be called this. */
const ALL = "/";

export interface AskedRepository {
  /** Of the repository; not always what was asked for. */
  readonly name: string;
  readonly askedFor: string;
}

/**
 * @param askedFor a checked name, or the id that a store gave
 * @throws access/…, storage/not-found, server/busy, base/aborted, and what the work throws
 */
export async function withPlace<T>(
  exchange: HttpExchange,
  {
    askedFor,
    operation,
  }: { readonly askedFor: string; readonly operation: Exclude<Operation, "push" | "archive"> },
  work: (asked: AskedRepository) => Promise<T>,
): Promise<T> {
  const { host, caller, signal } = exchange;
  await host.panic.admit(operation);
  await host.rates.admitService(caller, { push: !isReading(operation), discovery: false });
  const name = operation === "create" ? askedFor : await nameOf(host, askedFor);
  if (name !== askedFor) caller.activity.note({ repository: name });
  if (operation === "create") await requireCreation(exchange, name);
  else await requireAuthorization({ host, caller, name, askedFor, operation });
  const leave = await host.gate.enter(name, { caller: callerKey({ host, caller }), signal });
  try {
    return await work({ name, askedFor });
  } finally {
    leave();
  }
}

/**
 * Where the answer is to hide a repository it is the same whether there is one: but that there is none is no reason not to
 * make it.
 * @throws access/…
 */
export async function requireCreation({ host, caller }: HttpExchange, name: string): Promise<void> {
  try {
    await requireAuthorization({ host, caller, name, operation: "create" });
  } catch (error) {
    if (!isGitwharfError(error, "storage/not-found")) throw error;
    throw new GitwharfError("access/denied", `You are not allowed to create a repository called '${name}'`);
  }
}

/** As `withPlace`, for what is about all repositories. */
export async function withPlaceAmongAll(exchange: HttpExchange, work: () => Promise<void>): Promise<void> {
  const { host, caller, signal } = exchange;
  await host.panic.admit("fetch");
  await host.rates.admitService(caller, { push: false, discovery: false });
  const leave = await host.gate.enter(ALL, { caller: callerKey({ host, caller }), signal });
  try {
    await work();
  } finally {
    leave();
  }
}

/** An id before a name: whoever may choose names must not come before those who were given ids. */
export async function nameOf({ store }: Pick<ServiceHost, "store">, askedFor: string): Promise<string> {
  return (await store.nameOf?.(askedFor)) ?? askedFor;
}

/** @throws storage/not-found */
export async function withRepository<T>(
  { host }: HttpExchange,
  { name, askedFor }: AskedRepository,
  work: (repository: Repository) => Promise<T>,
): Promise<T> {
  const repository = await host.store.open(name);
  if (repository === undefined)
    throw new GitwharfError("storage/not-found", `repository '${askedFor}' does not exist`);
  try {
    return await work(repository);
  } finally {
    await repository.close();
  }
}
