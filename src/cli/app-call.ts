/** What the commands for deployed apps share: their options, the way to the server, the audit log. */
import { userInfo } from "node:os";
import { Command } from "commander";
import { callControl } from "../deploy/launch/control-client.js";
import type { ControlCall } from "../deploy/launch/control-messages.js";
import { controlSocketOf } from "../deploy/launch/places.js";
import { auditedChange, type AuditFlags, type Change, withAuditOption } from "./audited-change.js";

export interface AppFlags extends AuditFlags {
  readonly json?: boolean;
}

/** As shells say it of a command that Ctrl-C ended. */
export const INTERRUPTED = 130;
export const COMMIT_SHOWN = 10;

export function withDirectory(command: Command): Command {
  return command.option("-d, --directory <directory>", "where the repositories are", "./repositories");
}

export function appCommand(name: string): Command {
  return withDirectory(new Command(name)).option("--json", "print JSON");
}

/** What it does is written into the audit log. */
export function changingCommand(name: string): Command {
  return withAuditOption(appCommand(name));
}

/** @param details never values of the configuration: they are secrets */
export function changed<T>(
  flags: AppFlags,
  event: Change<T>["entry"]["event"],
  details: NonNullable<Change<T>["entry"]["details"]>,
  make: () => Promise<T>,
): Promise<T> {
  return auditedChange(flags, { entry: { event, details }, make });
}

export function call(flags: AppFlags, what: ControlCall): Promise<unknown> {
  return callControl(controlSocketOf(flags.directory), what);
}

/** Fires when this command is to end, or nobody reads any more what it prints: `gitwharf logs app | head`. */
export function leaving(): AbortSignal {
  const left = new AbortController();
  const leave = (): void => left.abort();
  process.once("SIGINT", leave);
  process.once("SIGTERM", leave);
  // Each write that follows fails once more.
  process.stdout.on("error", leave);
  return left.signal;
}

/** @returns when standard output has taken it */
export function written(chunk: Uint8Array): Promise<void> {
  return new Promise((resolve) => process.stdout.write(chunk, () => resolve()));
}

export function me(): string {
  try {
    return userInfo().username;
  } catch {
    return "";
  }
}

export function releaseText(number: number | undefined): string | undefined {
  return number === undefined ? undefined : `v${number}`;
}
