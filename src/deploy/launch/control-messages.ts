/**
 * What goes over the socket of operators: a call as one JSON object, its answer as lines of JSON. Output comes as it comes,
 * then the result or the error; an answer without either was broken off.
 */
import { isGitwharfError, GitwharfError } from "../../base/errors.js";
import { ERROR_CODES, type ErrorCode } from "../../base/error-codes.js";
import type { Formation } from "./launch-release.js";

export type ControlCall =
  | { readonly command: "ps"; readonly app?: string | undefined }
  | { readonly command: "scale"; readonly app: string; readonly formation: Formation }
  | { readonly command: "apps" }
  | {
      readonly command: "config" | "releases" | "follow-build" | "remove-app" | "builds";
      readonly app: string;
    }
  | {
      readonly command: "create-app";
      readonly app: string;
      readonly repository?: string | undefined;
      readonly branch?: string | undefined;
      readonly by: string;
    }
  | { readonly command: "cancel-build"; readonly app: string; readonly build?: string | undefined }
  | {
      readonly command: "retry-build";
      readonly app: string;
      readonly commit?: string | undefined;
      readonly by: string;
    }
  | {
      readonly command: "set-config";
      readonly app: string;
      readonly changes: Readonly<Record<string, string | null>>;
      readonly by: string;
    }
  | {
      readonly command: "rollback";
      readonly app: string;
      readonly number?: number | undefined;
      readonly by: string;
    }
  | { readonly command: "run"; readonly app: string; readonly line: string };

export type ControlAnswer =
  /** Base64. */
  | { readonly output: string }
  | { readonly result: unknown }
  | { readonly error: { readonly code: string; readonly message: string } };

/** @throws protocol/bad-request */
export function parseControlCall(text: string): ControlCall {
  const call = objectOf(text);
  const { command, app } = call;
  const name = (): string => stringAt(call, "app");
  switch (command) {
    case "ps":
      return app === undefined ? { command } : { command, app: name() };
    case "apps":
      return { command };
    case "config":
    case "releases":
    case "follow-build":
    case "remove-app":
    case "builds":
      return { command, app: name() };
    case "create-app":
      return {
        command,
        app: name(),
        repository: optionalAt(call, "repository"),
        branch: optionalAt(call, "branch"),
        by: stringAt(call, "by"),
      };
    case "cancel-build":
      return { command, app: name(), build: optionalAt(call, "build") };
    case "retry-build":
      return { command, app: name(), commit: optionalAt(call, "commit"), by: stringAt(call, "by") };
    case "scale":
      return { command, app: name(), formation: recordAt(call, "formation", isCount) };
    case "set-config":
      return {
        command,
        app: name(),
        changes: recordAt(call, "changes", isTextOrNull),
        by: stringAt(call, "by"),
      };
    case "rollback": {
      const { number } = call;
      if (number !== undefined && !isCount(number)) throw wrong("number");
      return { command, app: name(), number, by: stringAt(call, "by") };
    }
    case "run":
      return { command, app: name(), line: stringAt(call, "line") };
    default:
      throw wrong("command");
  }
}

/** What the other side is told of an error: of a defect no more than that there is one. */
export function controlErrorOf(error: unknown): ControlAnswer {
  return isGitwharfError(error)
    ? { error: { code: error.code, message: error.message } }
    : { error: { code: "base/invariant", message: "the server failed; its log has the error" } };
}

export function errorOfControl({
  code,
  message,
}: {
  readonly code: string;
  readonly message: string;
}): GitwharfError {
  return new GitwharfError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "storage/io", message);
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong("JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong("JSON");
  return value as Record<string, unknown>;
}

function stringAt(call: Readonly<Record<string, unknown>>, key: string): string {
  const value = call[key];
  if (typeof value !== "string") throw wrong(key);
  return value;
}

function optionalAt(call: Readonly<Record<string, unknown>>, key: string): string | undefined {
  return call[key] === undefined ? undefined : stringAt(call, key);
}

function recordAt<T>(
  call: Readonly<Record<string, unknown>>,
  key: string,
  isOne: (value: unknown) => value is T,
): Readonly<Record<string, T>> {
  const value = call[key];
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(key);
  const entries: [string, T][] = [];
  for (const [name, one] of Object.entries(value) as [string, unknown][]) {
    if (!isOne(one)) throw wrong(key);
    entries.push([name, one]);
  }
  return Object.fromEntries(entries);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function wrong(what: string): GitwharfError {
  return new GitwharfError(
    "protocol/bad-request",
    `the command is not understood (${what}); are both of one version?`,
  );
}
