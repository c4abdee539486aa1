/** Making, showing, renaming and deleting a repository. */
import { GitwharfError } from "../base/errors.js";
import type { CreateRepositoryOptions } from "../storage/contracts/repository.js";
import type { HttpExchange } from "../transport/http/answer-request.js";
import { isConditional, isKnown, requireMatch } from "./conditions.js";
import { readJsonObject } from "./read-json.js";
import { representationOf, type TaggedRepresentation } from "./representation.js";
import { type AskedRepository, requireCreation, withPlace, withRepository } from "./repository-access.js";
import { readChangedRepository, readNewRepository } from "./repository-bodies.js";
import { sendJson } from "./send-json.js";

/** @param defaults of new repositories, where the body says nothing */
export async function createRepository(
  exchange: HttpExchange,
  defaults: CreateRepositoryOptions,
): Promise<void> {
  const { host, caller } = exchange;
  const { name, creation } = readNewRepository(await readJsonObject(exchange));
  caller.activity.note({ repository: name });
  await withPlace(exchange, { askedFor: name, operation: "create" }, async () => {
    await host.audit?.changes(caller, { event: "repository-create", repository: name });
    const repository = await host.store.create(name, { ...defaults, ...creation });
    try {
      const { value, tag } = await representationOf(exchange, repository);
      // Relative to the address of the request, whatever that is below.
      const headers = { Location: `repositories/${encodeURIComponent(value.id)}`, ETag: tag };
      sendJson(exchange, { status: 201, value, headers });
    } finally {
      await repository.close();
    }
  });
}

export async function showRepository(exchange: HttpExchange, askedFor: string): Promise<void> {
  await withPlace(exchange, { askedFor, operation: "fetch" }, async (asked) => {
    const { value, tag } = await withRepository(exchange, asked, async (repository) => {
      await exchange.host.admitRepository?.(repository);
      return representationOf(exchange, repository);
    });
    const headers = { ETag: tag };
    if (isKnown(exchange.request, tag)) sendJson(exchange, { status: 304, headers });
    else sendJson(exchange, { status: 200, value, headers });
  });
}

export async function renameRepository(exchange: HttpExchange, askedFor: string): Promise<void> {
  const to = readChangedRepository(await readJsonObject(exchange));
  const { host, caller } = exchange;
  await withPlace(exchange, { askedFor, operation: "rename" }, async (asked) => {
    const before = await representAsked(exchange, asked);
    requireMatch(exchange.request, before.tag);
    if (to !== asked.name) {
      // Whoever may not make a repository there may not bring one there either.
      await requireCreation(exchange, to);
      if (host.store.rename === undefined) {
        throw new GitwharfError(
          "storage/cannot-rename",
          "this server keeps its repositories in a way that does not let them be renamed: make one of the new name and push to it",
        );
      }
      const { name } = asked;
      await host.audit?.changes(caller, { event: "repository-rename", repository: name, details: { to } });
      await host.store.rename(name, to);
    }
    const { value, tag } = await representAsked(exchange, { name: to, askedFor: to });
    sendJson(exchange, { status: 200, value, headers: { ETag: tag } });
  });
}

export async function deleteRepository(exchange: HttpExchange, askedFor: string): Promise<void> {
  const { host, caller, request } = exchange;
  await withPlace(exchange, { askedFor, operation: "delete" }, async (asked) => {
    // (It may be one that cannot be opened any more.)
    if (isConditional(request)) requireMatch(request, (await representAsked(exchange, asked)).tag);
    await host.audit?.changes(caller, { event: "repository-delete", repository: asked.name });
    await host.store.delete(asked.name);
    sendJson(exchange, { status: 204 });
  });
}

function representAsked(exchange: HttpExchange, asked: AskedRepository): Promise<TaggedRepresentation> {
  return withRepository(exchange, asked, (repository) => representationOf(exchange, repository));
}
