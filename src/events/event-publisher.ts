/**
 * Gives events their cursors: in the order in which a repository's refs were to move, once it is known of each whether it
 * did. What a server that was killed has left open is settled against the refs. Several processes may do so at once: each
 * step is one statement that comes to nothing when another was faster.
 */
import { othersTurn } from "../base/others-turn.js";
import type { EventStore, StoredEvent } from "../database/event-store.js";
import type { Repository } from "../storage/contracts/repository.js";
import type { EventLog } from "./event-log.js";
import { createRepositoryWork, type RepositoryWork } from "./repository-work.js";
import { hasMoved } from "./settle-event.js";

export interface EventPublisherOptions {
  readonly store: () => Promise<EventStore>;
  /** undefined: there is none. */
  readonly open: (repository: string) => Promise<Repository | undefined>;
  /** There are new ones. */
  readonly onTold: (repository: string) => void;
  readonly log: EventLog;
  /** Between two looks for what other processes have left. @default 10,000 */
  readonly lookEveryMs?: number;
}

/** A ref is being changed. */
const BUSY_PAUSE_MS = 500;
/** Whoever moves it has so long to say so. */
const YOUNG_MS = 1000;

export function createEventPublisher(options: EventPublisherOptions): RepositoryWork {
  const { store, log } = options;

  async function publish(repository: string, signal: AbortSignal): Promise<number | undefined> {
    const rows = await store();
    let isNew = false;
    try {
      while (!signal.aborted) {
        while (!signal.aborted && (await rows.tell(repository)) > 0) {
          isNew = true;
          await othersTurn();
        }
        if (signal.aborted) return undefined;
        const next = await rows.firstUntold(repository);
        if (next === undefined) return undefined;
        if (next.hasMoved) continue;
        const ageMs = Date.now() - next.createdAt;
        if (ageMs >= 0 && ageMs < YOUNG_MS) return YOUNG_MS - ageMs;
        if (!(await settle(rows, next))) return BUSY_PAUSE_MS;
      }
      return undefined;
    } finally {
      if (isNew) options.onTold(repository);
    }
  }

  /** @returns false when it has to wait */
  async function settle(rows: EventStore, event: StoredEvent): Promise<boolean> {
    const { id, repository: name, refName } = event;
    const repository = await options.open(name);
    let moved: boolean | undefined;
    try {
      moved = await hasMoved(repository, event);
    } finally {
      await repository?.close();
    }
    if (moved === undefined) return false;
    const what = `'${refName}' of '${name}' ${moved ? "has" : "has not"} moved, as the ref itself says`;
    log({ level: "info", message: `events: ${what}` });
    await (moved ? rows.markMoved({ id }) : rows.remove(id));
    return true;
  }

  return createRepositoryWork({
    work: publish,
    look: async () => (await store()).listRepositoriesUntold(),
    onFailure: (repository, error) =>
      log({
        level: "error",
        message:
          repository === undefined ? "events cannot be read" : `events of '${repository}' have to wait`,
        error,
      }),
    lookEveryMs: options.lookEveryMs,
  });
}
