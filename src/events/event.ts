/** One change of one ref, as everybody reads it: the application, the stream and webhooks. Specification: docs/events.md */
import type { ToldEvent } from "../database/event-store.js";
import { isNullObjectId } from "../object/object-id.js";

export type EventType = "ref.created" | "ref.updated" | "ref.deleted";

export const EVENT_TYPES: readonly EventType[] = ["ref.created", "ref.updated", "ref.deleted"];

export interface RefEvent {
  /** Of this change, the same wherever and however often it is told. */
  readonly id: string;
  /** Greater than that of every event that was there before; the place to read on from. */
  readonly cursor: number;
  readonly type: EventType;
  /** ISO 8601: when the ref was about to move. */
  readonly time: string;
  /** Name without `.git`. */
  readonly repository: string;
  readonly ref: {
    readonly name: string;
    readonly kind: "branch" | "tag" | "other";
    /** `feature/x` of `refs/heads/feature/x`; of refs that are neither branch nor tag what follows `refs/`. */
    readonly shortName: string;
    /** null: the ref was created. */
    readonly old: string | null;
    /** null: the ref was deleted. */
    readonly new: string | null;
    /** Whether it left commits behind; null: that was not looked at. */
    readonly forced: boolean | null;
  };
  readonly push: {
    /** The same for all refs that moved together. */
    readonly id: string;
    /** null: nobody had signed in. */
    readonly user: string | null;
    /** How they had signed in: `password`, `ssh-key`, … */
    readonly method: string | null;
    /** Names the credential without giving it away. */
    readonly credentialId: string | null;
    readonly transport: "http" | "ssh" | "git" | "stdio" | null;
    readonly address: string | null;
    /** Under which the server has logged it. */
    readonly requestId: string | null;
    /** `git push -o` */
    readonly options: readonly string[];
  };
}

const KINDS = [
  ["refs/heads/", "branch"],
  ["refs/tags/", "tag"],
  ["refs/", "other"],
] as const;

export function describeEvent(event: ToldEvent): RefEvent {
  const { id, cursor, repository, refName, oldOid, newOid, forced, about } = event;
  const isNew = isNullObjectId(oldOid);
  const isGone = isNullObjectId(newOid);
  const [prefix, kind] = KINDS.find(([start]) => refName.startsWith(start)) ?? ["", "other"];
  return {
    id,
    cursor,
    type: isNew ? "ref.created" : isGone ? "ref.deleted" : "ref.updated",
    time: new Date(event.createdAt).toISOString(),
    repository,
    ref: {
      name: refName,
      kind,
      shortName: refName.slice(prefix.length),
      old: isNew ? null : oldOid,
      new: isGone ? null : newOid,
      forced: forced ?? null,
    },
    push: {
      id: event.pushId,
      user: event.user === "" ? null : event.user,
      method: about.method ?? null,
      credentialId: about.credentialId ?? null,
      transport: transportOf(about.transport),
      address: about.address ?? null,
      requestId: about.requestId ?? null,
      options: about.options ?? [],
    },
  };
}

function transportOf(text: string | undefined): RefEvent["push"]["transport"] {
  return text === "http" || text === "ssh" || text === "git" || text === "stdio" ? text : null;
}
