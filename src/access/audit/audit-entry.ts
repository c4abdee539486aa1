/**
 * What is written into the audit log: who, what, from where, outcome. An entry becomes one line, a push of many refs
 * several. No field holds a secret, drives a terminal or goes on without end. Fields: docs/audit-log.md.
 */
import { withoutUserInformation } from "../../base/user-information.js";

export const AUDIT_EVENTS = [
  "server-start",
  "server-stop",
  "fetch",
  "archive",
  "push-begin",
  "push",
  "lfs-authenticate",
  "request",
  "sign-in",
  "refusals-omitted",
  "entries-lost",
  "user-add",
  "user-remove",
  "user-password",
  "key-add",
  "key-remove",
  "token-add",
  "token-remove",
  "public-add",
  "public-remove",
  "panic-on",
  "panic-off",
  "build",
  "release",
  "app-add",
  "app-remove",
  "app-config",
  "app-scale",
  "app-rollback",
  "app-run",
  "build-cancel",
  "build-retry",
  "repository-fork",
  "repository-rename",
  "repository-restore",
  "repository-undelete",
  "repository-import",
  "storage-rebuild",
  "repository-create",
  "repository-delete",
  "recovery",
] as const;

export type AuditEvent = (typeof AUDIT_EVENTS)[number];

export interface AuditRef {
  readonly name: string;
  readonly old: string;
  readonly new: string;
  /** `change`: update or force, nobody has looked. */
  readonly kind: "create" | "update" | "force" | "delete" | "change";
  /** The name in the push, when proc-receive moved this ref for it. */
  readonly pushedAs?: string | undefined;
  /** Not there as long as nothing has been decided. */
  readonly outcome?: "accepted" | "refused" | undefined;
  readonly reason?: string | undefined;
}

export interface AuditEntry {
  readonly event: AuditEvent;
  /** Milliseconds since 1970. @default now */
  readonly time?: number;
  readonly requestId?: string | undefined;
  /** undefined: nobody has signed in. */
  readonly user?: string | undefined;
  /** How that was proved. */
  readonly method?: string | undefined;
  /** A key's fingerprint, a token's id. */
  readonly credentialId?: string | undefined;
  readonly transport?: "http" | "ssh" | "git" | "stdio" | "cli" | undefined;
  readonly address?: string | undefined;
  readonly repository?: string | undefined;
  readonly outcome?: string | undefined;
  /** Of docs/errors.md. */
  readonly code?: string | undefined;
  readonly reason?: string | undefined;
  readonly refs?: readonly AuditRef[] | undefined;
  /** What else belongs to the event. */
  readonly details?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
}

/** Receives entries in place of a file, in order, one after the other; a rejection is a log that cannot be written. */
export type AuditSink = (entry: AuditEntry) => void | Promise<void>;

export const FIELD_CHARACTERS_MAX = 512;
export const REF_NAME_CHARACTERS_MAX = 1024;
/** No line of ours is longer, whatever was pushed. */
export const LINE_BYTES_MAX = 64 * 1024;
const REFS_BYTES_MAX = 24 * 1024;
const DETAILS_MAX = 8;

/** Visible in place of what drives terminals, hides or turns text around; not longer than `max` and a hint at the rest. */
export function cleanText(text: string, max: number = FIELD_CHARACTERS_MAX): string {
  if (text.length <= max && /^[\x20-\x7e]*$/.test(text)) return text;
  const shown = text
    .slice(0, max)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (each) => `\\u{${each.codePointAt(0)?.toString(16)}}`)
    .slice(0, max);
  return text.length > max ? `${shown}…(+${text.length - max})` : shown;
}

/**
 * The entry as the texts of lines, each from its event on and without what links it to the line before.
 * `"event":"fetch",…}`
 */
export function formatEntry(entry: AuditEntry): readonly string[] {
  const { event, refs, details } = entry;
  const fields = {
    event,
    requestId: cleaned(entry.requestId),
    user: cleaned(entry.user),
    method: cleaned(entry.method),
    credentialId: cleaned(entry.credentialId),
    transport: entry.transport,
    address: cleaned(entry.address),
    repository: cleanedQuote(entry.repository),
    outcome: cleaned(entry.outcome),
    code: entry.code,
    reason: cleanedQuote(entry.reason),
    ...(details === undefined ? {} : { details: cleanedDetails(details) }),
  };
  if (refs === undefined) return [inner(fields)];
  const parts = partsOf(refs.map(formatRef));
  return parts.map((part, i) => {
    const whole = parts.length === 1 ? {} : { part: i + 1, parts: parts.length };
    return `${inner({ ...fields, ...whole }).slice(0, -1)},"refs":[${part.join(",")}]}`;
  });
}

function inner(fields: object): string {
  return JSON.stringify(fields).slice(1);
}

function cleaned(text: string | undefined): string | undefined {
  return text === undefined ? undefined : cleanText(text);
}

function cleanedQuote(text: string | undefined): string | undefined {
  return text === undefined ? undefined : cleanText(withoutUserInformation(text));
}

function cleanedDetails(details: NonNullable<AuditEntry["details"]>): object {
  const rows = Object.entries(details).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    rows
      .slice(0, DETAILS_MAX)
      .map(([key, value]) => [cleanText(key, 64), typeof value === "string" ? cleanText(value) : value]),
  );
}

function formatRef({ name, old, new: to, kind, pushedAs, outcome, reason }: AuditRef): string {
  return JSON.stringify({
    name: cleanText(name, REF_NAME_CHARACTERS_MAX),
    old,
    new: to,
    kind,
    pushedAs: pushedAs === undefined ? undefined : cleanText(pushedAs, REF_NAME_CHARACTERS_MAX),
    outcome,
    reason: cleanedQuote(reason),
  });
}

function partsOf(texts: readonly string[]): readonly (readonly string[])[] {
  const parts: string[][] = [[]];
  let bytes = 0;
  for (const text of texts) {
    const own = Buffer.byteLength(text) + 1;
    if (bytes > 0 && bytes + own > REFS_BYTES_MAX) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(text);
    bytes += own;
  }
  return parts;
}
