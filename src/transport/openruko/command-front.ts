/**
 * Answers commands over SSH in Openruko's way: bytes between git and a build of its own, sentences as ` ! …` on standard
 * error.
 *
 *   EXIT STATUS  MEANS
 *   0            the dyno has ended its side; what git was refused is told in git's protocol
 *   1            refused, with a sentence
 *   127          the API server or the dyno cannot be reached, or did not come up
 *   128          it broke off, or took too long
 *   128 + n      ended by signal n of the client
 */
import type { OpenrukoAccess } from "../../access/openruko/openruko-access.js";
import type { CheckedOpenrukoOptions } from "../../access/openruko/openruko-options.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { countInput, countOutput } from "../count-bytes.js";
import { formatControlText } from "../http/plain-text.js";
import { describeFailure } from "../describe-failure.js";
import { createRepositoryGate } from "../repository-gate.js";
import type { ServiceExchange } from "../service-contexts.js";
import { type CommandCall, type CommandFront, shownCommand } from "../ssh/serve-command.js";
import { type AppCommand, parseAppCommand } from "./app-command.js";
import { runAppSession } from "./app-session.js";
import { STATUS_REFUSED, STATUS_UNREACHABLE } from "./session-end.js";
import { createUserPlaces } from "./user-places.js";

const UNREACHABLE = "Unable to contact build server.";

/** Bounded by `limits.requestsMax` and `limits.repositoryConcurrencyMax` like the server's own work. */
export function createAppCommandFront(access: OpenrukoAccess, options: CheckedOpenrukoOptions): CommandFront {
  const pushes = createRepositoryGate({
    repositoryConcurrencyMax: 1,
    repositoryQueueMax: options.pushQueueMax,
    requestsMax: Number.POSITIVE_INFINITY,
  });
  const users = createUserPlaces(options.sessionsPerUserMax);

  const run = async (exchange: ServiceExchange, command: AppCommand, call: CommandCall): Promise<number> => {
    const { host, caller } = exchange;
    const service = command.action === "git-receive-pack" ? "receive-pack" : "upload-pack";
    caller.activity.note({ service, repository: command.app });
    if (service === "receive-pack") await host.audit?.admit("push");
    if (access.isUndecided(caller.identity))
      throw new GitwharfError("server/build-unavailable", "the API server could not tell who this is");
    const tell = (...lines: readonly string[]): void => void write(call, lines);
    try {
      return await runAppSession({
        exchange,
        call,
        command,
        access,
        options,
        pushes,
        users,
        tell,
      });
    } finally {
      await host.rates.countBytes(caller, caller.activity.bytes);
    }
  };

  return {
    // A build may say nothing for long; the session's own time bounds it.
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    async serve(exchange, given) {
      const { activity, identity } = exchange.caller;
      const { user, method, credentialId } = identity;
      if (user !== undefined) activity.note({ user, method, credentialId });
      const { input, output, errors } = given.streams;
      const streams = { input: countInput(input, activity), output: countOutput(output, activity), errors };
      const call = { ...given, streams };
      const syntax = `Syntax is: ${call.urlPrefix}<app>.git where <app> is your app's name.`;
      const command = call.text === undefined ? undefined : parseAppCommand(call.text);
      try {
        await call.recheck?.();
        if (command !== undefined) return await run(exchange, command, call);
        activity.failed(new GitwharfError("protocol/bad-request", "the path is invalid"));
        const first = call.text === undefined ? greeting(user) : "Invalid path.";
        await write(call, [first, syntax]);
        return STATUS_REFUSED;
      } catch (error) {
        activity.failed(error);
        return refuse(exchange, call, error);
      }
    },
  };
}

async function refuse({ host, caller }: ServiceExchange, call: CommandCall, error: unknown): Promise<number> {
  const requestId = caller.activity.requestId;
  if (isGitwharfError(error, "server/build-unavailable")) {
    const message = `${shownCommand(call.text)} did not get to a build: ${error.message}`;
    host.log({ level: "error", message, error: error.cause, fields: { requestId } });
    await write(call, [UNREACHABLE]);
    return STATUS_UNREACHABLE;
  }
  const { status, text } = describeFailure(error, requestId);
  if (status === 500)
    host.log({
      level: "error",
      message: `ssh ${shownCommand(call.text)} failed`,
      error,
      fields: { requestId },
    });
  await write(call, [text]);
  return STATUS_REFUSED;
}

/** Never throws. */
async function write({ streams }: CommandCall, lines: readonly string[]): Promise<void> {
  const text = lines.map((line) => ` ! ${sentence(formatControlText(line))}\n`).join("");
  try {
    await streams.errors.write(Buffer.from(`\n${text}\n`));
  } catch {
    // It has gone.
  }
}

function sentence(text: string): string {
  const capital = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return capital.endsWith(".") ? capital : `${capital}.`;
}

function greeting(user: string | undefined): string {
  return user === undefined
    ? "There is no shell here."
    : `Hello ${user}, you are signed in. There is no shell here.`;
}
