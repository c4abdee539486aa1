/**
 * One command of a user who has signed in, from its text to its exit status: by our own SSH server, or behind a stock
 * sshd that runs `gitwharf ssh-command` in its place.
 *
 *   EXIT STATUS  MEANS
 *   0            served; refs that were refused are told in the protocol
 *   1            refused, with a sentence on standard error
 *   128          it broke off after the protocol had begun
 */
import type { ByteSink, ByteSource } from "../../base/byte-streams.js";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { withoutUserInformation } from "../../base/user-information.js";
import { converse } from "../conversation.js";
import { countInput, countOutput } from "../count-bytes.js";
import { formatControlText } from "../http/plain-text.js";
import { describeFailure, isForOperators } from "../describe-failure.js";
import { requireAuthorization, requireReading, resolveName } from "../service-call.js";
import type { ServiceExchange } from "../service-contexts.js";
import { parseSshCommand, type SshCommand } from "./command-line.js";
import type { LfsAuthenticate } from "./lfs-authenticate.js";

export interface CommandStreams {
  readonly input: ByteSource;
  readonly output: ByteSink;
  readonly errors: ByteSink;
  /** Once nobody reads `input` any more: throws away what still comes, until the client ends its side or the time is over. */
  discard?(milliseconds: number): Promise<void>;
}

export interface CommandCall {
  /** What the client asked to be run; undefined for a shell. */
  readonly text: string | undefined;
  /** GIT_PROTOCOL, if the client sent it. */
  readonly gitProtocol: string | undefined;
  readonly streams: CommandStreams;
  readonly lfsAuthenticate: LfsAuthenticate | undefined;
  /** Is what the client signed in with still good? @throws when it is not */
  readonly recheck?: () => Promise<void>;
  /** How to write a URL of this server, for who asks for a shell: `ssh://git@host:port/`. */
  readonly urlPrefix: string;
  /** To be called once: told of the signals that the client sends, `TERM` and the like. */
  readonly onSignal?: ((listener: (name: string) => void) => void) | undefined;
}

/** Answers commands in place of this server's own repositories. */
export interface CommandFront {
  /** How long a client may neither send nor read. */
  readonly idleTimeoutMs: number;
  /** Never throws. @returns the exit status */
  serve(exchange: ServiceExchange, call: CommandCall): Promise<number>;
}

const STATUS_REFUSED = 1;
const STATUS_BROKEN_OFF = 128;
const LINGER_MS = 2000;

/** Never throws. @returns the exit status */
export async function serveCommand(exchange: ServiceExchange, call: CommandCall): Promise<number> {
  const { activity, identity } = exchange.caller;
  const { user, method, credentialId } = identity;
  if (user !== undefined) activity.note({ user, method, credentialId });
  const { input, output } = call.streams;
  const streams = {
    ...call.streams,
    input: countInput(input, activity),
    output: countOutput(output, activity),
  };
  try {
    await call.recheck?.();
    if (call.text === undefined) throw new GitwharfError("access/denied", greeting(exchange, call.urlPrefix));
    const command = parseSshCommand(call.text, (word) => exchange.host.parseName(word, "ssh"));
    return await serve(exchange, command, { ...call, streams });
  } catch (error) {
    activity.failed(error);
    await tell(exchange, call, error);
    return STATUS_REFUSED;
  }
}

/** For the log. */
export function shownCommand(text: string | undefined): string {
  return formatControlText(withoutUserInformation(text ?? "shell").slice(0, 300));
}

async function serve(exchange: ServiceExchange, command: SshCommand, call: CommandCall): Promise<number> {
  const { service, name } = command;
  const { rates } = exchange.host;
  await rates.admitAddress(exchange.caller.address);
  await rates.admitIdentity(exchange.caller.identity);
  if (service === "git-lfs-authenticate") {
    await answerLfs(exchange, command, call);
    return 0;
  }
  const { gitProtocol, streams } = call;
  const { failure, isReported = false } = await converse(exchange, { service, name, gitProtocol, streams });
  if (failure === undefined || isReported) return 0;
  // A git that still writes would be ended by a signal before it has shown what it was told.
  if (!isGitwharfError(failure, "base/aborted") && !exchange.signal.aborted)
    await streams.discard?.(LINGER_MS);
  return STATUS_BROKEN_OFF;
}

async function answerLfs(exchange: ServiceExchange, command: SshCommand, call: CommandCall): Promise<void> {
  const { host, caller } = exchange;
  const { name: askedFor, lfsOperation: operation = "download" } = command;
  caller.activity.note({ service: "lfs-authenticate", repository: askedFor });
  const about = { host, caller, operation: operation === "upload" ? ("push" as const) : ("fetch" as const) };
  const { name, at, facts } = await resolveName({ ...about, name: askedFor });
  await requireAuthorization({ ...about, name, at, facts, askedFor });
  // Large files have no past: they are those of the repository.
  requireReading({ ...about, at, askedFor });
  if (call.lfsAuthenticate === undefined) {
    throw new GitwharfError("protocol/service-disabled", "Git LFS is not served here");
  }
  const { identity, address } = caller;
  const answer = await call.lfsAuthenticate({ identity, repository: name, operation, address });
  await call.streams.output.write(Buffer.from(`${JSON.stringify(answer)}\n`));
}

/** One sentence on standard error, where git shows it to the person. */
async function tell({ host, caller }: ServiceExchange, call: CommandCall, error: unknown): Promise<void> {
  const requestId = caller.activity.requestId;
  const told = host.answers?.describe(error, { transport: "ssh" });
  const { status, text } = told ?? describeFailure(error, requestId);
  if (isForOperators(error, status)) {
    host.log({
      level: "error",
      message: `ssh ${shownCommand(call.text)} failed`,
      error,
      fields: { requestId },
    });
  }
  try {
    const prefix = host.answers === undefined ? "gitwharf: " : "";
    await call.streams.errors.write(Buffer.from(`${prefix}${formatControlText(text)}\n`));
  } catch {
    // It has gone.
  }
}

function greeting({ caller, host }: ServiceExchange, urlPrefix: string): string {
  const { user } = caller.identity;
  if (host.answers !== undefined) return host.answers.greeting(user);
  const who = user === undefined ? "hello; nobody needs to sign in here" : `hello ${user}, you are signed in`;
  return `${who}. There is no shell, but: git clone ${urlPrefix}REPOSITORY.git`;
}
