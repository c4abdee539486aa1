/**
 * One session of an SSH connection: at most one command, by grammar, with its exit status. No shell, no terminal, no
 * subsystem, no forwarding. Specification: RFC 4254, section 6.
 *
 *   EXIT STATUS  MEANS
 *   0            served; refs that were refused are told in the protocol
 *   1            refused, with a sentence on standard error
 *   128          it broke off after the protocol had begun
 */
import { randomUUID } from "node:crypto";
import type { Connection, ServerChannel, Session } from "ssh2";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { converse } from "../conversation.js";
import { formatControlText } from "../http/plain-text.js";
import { describeFailure } from "../http/status.js";
import { requireAuthorization, type ServiceCaller } from "../service-call.js";
import type { ServiceExchange } from "../service-contexts.js";
import type { ServiceHost } from "../service-host.js";
import type { SshLogin } from "./authentication.js";
import { type ChannelStreams, createChannelStreams } from "./channel-streams.js";
import { parseSshCommand, type SshCommand } from "./command-line.js";
import type { LfsAuthenticate } from "./lfs-authenticate.js";

export interface SshSessionOptions {
  readonly host: ServiceHost;
  readonly connection: Connection;
  readonly login: SshLogin;
  readonly address: string | undefined;
  readonly lfsAuthenticate: LfsAuthenticate | undefined;
  /** How to write a URL of this server: `ssh://git@host:port/`. */
  readonly urlPrefix: string;
  readonly onViolation: (why: string) => void;
  /** Called when a command begins; what it answers is called when it has ended. */
  readonly begin: () => () => void;
}

const GIT_PROTOCOL_VALUE = /^[\x21-\x7e]{1,256}$/;
/** Time for a client to close its side of a channel. */
const CLOSE_WAIT_MS = 2000;
const STATUS_REFUSED = 1;
const STATUS_BROKEN_OFF = 128;

/** Everything that is not listened for here, the library refuses. */
export function serveSession(session: Session, options: SshSessionOptions): void {
  let gitProtocol: string | undefined;
  session.on("env", (accept, reject, { key, val }) => {
    // The types promise functions; the library has none for a client that wants no answer.
    const [accepts, rejects] = [accept as (() => void) | undefined, reject as (() => void) | undefined];
    if (key !== "GIT_PROTOCOL" || !GIT_PROTOCOL_VALUE.test(val)) return rejects?.();
    gitProtocol = val;
    accepts?.();
  });
  session.on("exec", (accept, _reject, { command }) => {
    const channel = accept() as ServerChannel | undefined;
    if (channel === undefined) return;
    const asked = options.login.forceCommand ?? command;
    run(channel, options, asked, (exchange, streams) =>
      serveCommand(exchange, streams, { command: parseSshCommand(asked), gitProtocol, options }),
    );
  });
  session.on("shell", (accept) => {
    const channel = accept() as ServerChannel | undefined;
    if (channel === undefined) return;
    const forced = options.login.forceCommand;
    run(channel, options, forced ?? "shell", (exchange, streams) => {
      if (forced === undefined) throw new GitwharfError("access/denied", greeting(options));
      return serveCommand(exchange, streams, { command: parseSshCommand(forced), gitProtocol, options });
    });
  });
}

function run(
  channel: ServerChannel,
  options: SshSessionOptions,
  what: string,
  work: (exchange: ServiceExchange, streams: ChannelStreams) => Promise<number>,
): void {
  const { host, connection, login, address } = options;
  const end = options.begin();
  const started = performance.now();
  const left = new AbortController();
  const onClose = (): void => left.abort(new GitwharfError("base/aborted", "the client has gone"));
  channel.once("close", onClose);
  connection.once("close", onClose);
  // What the library has to say here it says by closing, too; without a listener an error would end the process.
  channel.on("error", onClose);
  channel.stderr.on("error", onClose);
  const signal = AbortSignal.any([left.signal, host.closing]);
  const streams = createChannelStreams({
    connection,
    channel,
    idleTimeoutMs: host.limits.idleTimeoutMs,
    signal,
    onViolation: options.onViolation,
  });
  const caller: ServiceCaller = { identity: login.identity, address, transport: "ssh" };
  const exchange: ServiceExchange = { host, caller, signal, sessionId: randomUUID() };
  const log = (status: number | "gone"): void =>
    host.log({
      level: "info",
      message: `ssh ${formatControlText(what.slice(0, 300))} ${status}`,
      fields: {
        address,
        user: login.identity.user,
        milliseconds: Math.round(performance.now() - started),
      },
    });
  void (async () => {
    let status: number;
    try {
      status = await work(exchange, streams);
    } catch (error) {
      status = await tell(host, streams, what, error);
    }
    const told = await streams.exit(status);
    log(told ? status : "gone");
    // A client that reads the end of the connection together with the exit status takes the status for lost.
    if (told && !left.signal.aborted) await closedOrLate(left.signal);
    connection.off("close", onClose);
    end();
  })();
}

function closedOrLate(closed: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CLOSE_WAIT_MS);
    closed.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

/** @returns the exit status */
async function serveCommand(
  exchange: ServiceExchange,
  streams: ChannelStreams,
  asked: {
    readonly command: SshCommand;
    readonly gitProtocol: string | undefined;
    readonly options: SshSessionOptions;
  },
): Promise<number> {
  const { command, gitProtocol, options } = asked;
  const { service, name } = command;
  if (service === "git-lfs-authenticate") {
    const operation = command.lfsOperation ?? "download";
    const { host, caller } = exchange;
    await requireAuthorization({ host, caller, name, operation: operation === "upload" ? "push" : "fetch" });
    if (options.lfsAuthenticate === undefined) {
      throw new GitwharfError("protocol/service-disabled", "Git LFS is not served here");
    }
    const { identity, address } = caller;
    const answer = await options.lfsAuthenticate({ identity, repository: name, operation, address });
    await streams.output.write(Buffer.from(`${JSON.stringify(answer)}\n`));
    return 0;
  }
  const { failure } = await converse(exchange, { service, name, gitProtocol, streams });
  return failure === undefined ? 0 : STATUS_BROKEN_OFF;
}

/** One sentence on standard error, where git shows it to the person. */
async function tell(
  host: ServiceHost,
  streams: ChannelStreams,
  what: string,
  error: unknown,
): Promise<number> {
  const { status, text } = describeFailure(error);
  if (status >= 500 && !isGitwharfError(error, "base/aborted", "base/shutting-down", "server/busy")) {
    host.log({ level: "error", message: `ssh ${formatControlText(what.slice(0, 300))} failed`, error });
  }
  try {
    await streams.errors.write(Buffer.from(`gitwharf: ${formatControlText(text)}\n`));
  } catch {
    // It has gone.
  }
  return STATUS_REFUSED;
}

function greeting({ login, urlPrefix }: SshSessionOptions): string {
  const { user } = login.identity;
  const who = user === undefined ? "hello; nobody needs to sign in here" : `hello ${user}, you are signed in`;
  return `${who}. There is no shell, but: git clone ${urlPrefix}REPOSITORY.git`;
}
