/** The repositories that the caller may read, page by page, in the byte order of their names. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { GitwharfError, throwIfAborted } from "../base/errors.js";
import type { AuthorizationAnswer } from "../engine/authorization.js";
import type { RepositoryEntry, RepositoryStore } from "../storage/contracts/repository.js";
import type { HttpExchange } from "../transport/http/answer-request.js";
import { cursorBehind, type PageRequest } from "./page-cursor.js";
import { type RepositorySummary, summaryOf } from "./representation.js";
import { withPlaceAmongAll } from "./repository-access.js";
import { sendJson } from "./send-json.js";

export interface RepositoryPage {
  readonly repositories: readonly RepositorySummary[];
  /** There when there are more. */
  readonly next?: string;
}

/** About which authorization is asked at the same time. */
const ASKED_AT_ONCE = 32;

export async function listRepositories(exchange: HttpExchange, page: PageRequest): Promise<void> {
  await withPlaceAmongAll(exchange, async () =>
    sendJson(exchange, { status: 200, value: await pageOf(exchange, page) }),
  );
}

/** @throws access/unauthenticated when there is nothing to see for who has not signed in, and may be for who has */
async function pageOf(exchange: HttpExchange, { after, limit }: PageRequest): Promise<RepositoryPage> {
  const { host, caller, signal } = exchange;
  const visible: RepositoryEntry[] = [];
  let isChallenged = false;
  const look = async (entries: readonly RepositoryEntry[]): Promise<void> => {
    const answers = await Promise.all(entries.map(({ name }) => mayRead(exchange, name)));
    for (const [i, entry] of entries.entries()) {
      const answer = answers[i];
      if (answer?.allowed === true) visible.push(entry);
      else if (answer?.answer === "challenge") isChallenged = true;
    }
    // There may be very many that this caller does not see: others have their turn.
    await nextTurn();
    throwIfAborted(signal);
  };
  let waiting: RepositoryEntry[] = [];
  for await (const entry of entriesOf(host.store, after)) {
    waiting.push(entry);
    // One more than is shown: is there a next page?
    if (waiting.length < Math.min(ASKED_AT_ONCE, limit + 1)) continue;
    await look(waiting);
    waiting = [];
    if (visible.length > limit) break;
  }
  await look(waiting);
  if (visible.length === 0 && after === undefined && isChallenged && caller.identity.user === undefined)
    throw new GitwharfError("access/unauthenticated", "sign in to see repositories");
  const shown = visible.slice(0, limit);
  const last = shown.at(-1);
  return {
    repositories: shown.map(summaryOf),
    ...(visible.length > limit && last !== undefined ? { next: cursorBehind(last.name) } : {}),
  };
}

async function mayRead(
  { host, caller: { identity, address, transport } }: HttpExchange,
  repository: string,
): Promise<AuthorizationAnswer> {
  return host.authorize({ identity, repository, operation: "fetch", address, transport });
}

async function* entriesOf(store: RepositoryStore, after: string | undefined): AsyncIterable<RepositoryEntry> {
  if (store.entries !== undefined) {
    yield* store.entries({ after });
    return;
  }
  for await (const name of store.list()) if (after === undefined || name > after) yield { name };
}
