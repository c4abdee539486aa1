/**
 * The handlers, scripts and hooks over HTTP of a server's configuration, for a push that comes without its server. Nothing else of the
 * configuration is regarded: who may start this process may do what the operating system lets it do.
 */
import { basename, isAbsolute, relative, resolve } from "node:path";
import type { PushHandlers } from "../engine/push.js";
import { createHttpHooks } from "../hooks/http-hooks.js";
import { createScriptHooks } from "../hooks/script-hooks.js";
import { checkOptions } from "../server/check-options.js";
import { AGENT } from "../server/version.js";
import { readConfiguration } from "./serve-command.js";

export interface ConfiguredHandlers {
  /** What the server would call the repository: its path below the server's directory, without `.git`. */
  readonly name: string;
  readonly handlers: readonly PushHandlers[];
  readonly handlerTimeoutMs: number;
  close(): Promise<void>;
}

/** @param path of the repository @throws server/bad-configuration */
export async function readConfiguredHandlers(file: string, path: string): Promise<ConfiguredHandlers> {
  const { http: _http, ssh: _ssh, git: _git, metrics: _metrics, ...given } = await readConfiguration(file);
  const { repositories = "./repositories", handlers = [], hooks, handlerTimeoutMs = 600_000 } = given;
  checkOptions({ ...given, repositories });
  const name = nameOf(path, typeof repositories === "string" ? repositories : undefined);
  const overHttp = createHttpHooks(given.httpHooks, {
    agent: AGENT,
    log: ({ level, message }) => level === "error" && process.stderr.write(`error: ${message}\n`),
  });
  const scripts = hooks === undefined ? undefined : createScriptHooks(hooks, process.env);
  return {
    name,
    handlers: [...[handlers].flat(), ...overHttp.handlersFor(name), ...(scripts?.handlersFor(name) ?? [])],
    handlerTimeoutMs,
    close: async () => scripts?.close(),
  };
}

function nameOf(path: string, directory: string | undefined): string {
  const full = resolve(path).replace(/\/\.git$|\.git$/, "");
  const below = directory === undefined ? "" : relative(resolve(directory), full);
  return below === "" || isAbsolute(below) || /^\.\.(\/|$)/.test(below) ? basename(full) : below;
}
