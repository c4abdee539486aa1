/**
 * One session of an SSH connection: at most one command, with its exit status. No shell, no terminal, no subsystem, no
 * forwarding. Specification: RFC 4254, section 6.
 */
import { randomUUID } from "node:crypto";
import type { Connection, ServerChannel, Session } from "ssh2";
import { GitwharfError } from "../../base/errors.js";
import { linkSignals } from "../../base/linked-signal.js";
import { beginRequest } from "../observed-request.js";
import type { ServiceCaller } from "../service-call.js";
import type { ServiceExchange } from "../service-contexts.js";
import type { ServiceHost } from "../service-host.js";
import type { SshLogin } from "./authentication.js";
import { createChannelStreams } from "./channel-streams.js";
import type { LfsAuthenticate } from "./lfs-authenticate.js";
import { type CommandCall, type CommandFront, serveCommand, shownCommand } from "./serve-command.js";

export interface SshSessionOptions {
  readonly host: ServiceHost;
  readonly connection: Connection;
  readonly login: SshLogin;
  readonly address: string | undefined;
  readonly lfsAuthenticate: LfsAuthenticate | undefined;
  readonly front: CommandFront | undefined;
  /** How to write a URL of this server: `ssh://git@host:port/`. */
  readonly urlPrefix: string;
  readonly onViolation: (why: string) => void;
  /** Called when a command begins; what it answers is called when it has ended. */
  readonly begin: () => () => void;
}

const GIT_PROTOCOL_VALUE = /^[\x21-\x7e]{1,256}$/;
/** Time for a client to close its side of a channel. */
const CLOSE_WAIT_MS = 2000;

/** Everything that is not listened for here, the library refuses. */
export function serveSession(session: Session, options: SshSessionOptions): void {
  const { forceCommand } = options.login;
  let gitProtocol: string | undefined;
  session.on("env", (accept, reject, { key, val }) => {
    // The types promise functions; the library has none for a client that wants no answer.
    const [accepts, rejects] = [accept as (() => void) | undefined, reject as (() => void) | undefined];
    if (key !== "GIT_PROTOCOL" || !GIT_PROTOCOL_VALUE.test(val)) return rejects?.();
    gitProtocol = val;
    accepts?.();
  });
  const { front } = options;
  let signalled: ((name: string) => void) | undefined;
  if (front !== undefined) {
    session.on("signal", (accept, _reject, { name }) => {
      // As above.
      (accept as (() => void) | undefined)?.();
      signalled?.(name);
    });
  }
  const onSignal = (listener: (name: string) => void): void => void (signalled = listener);
  session.on("exec", (accept, _reject, { command }) => {
    const text = forceCommand ?? command;
    run(accept() as ServerChannel | undefined, options, { text, gitProtocol, onSignal });
  });
  session.on("shell", (accept) => {
    run(accept() as ServerChannel | undefined, options, { text: forceCommand, gitProtocol, onSignal });
  });
}

/** @param channel undefined when the session has had its command */
function run(
  channel: ServerChannel | undefined,
  options: SshSessionOptions,
  asked: Pick<CommandCall, "text" | "gitProtocol" | "onSignal">,
): void {
  if (channel === undefined) return;
  const { host, connection, login, address, lfsAuthenticate, urlPrefix, front } = options;
  const end = options.begin();
  const left = new AbortController();
  const onClose = (): void => left.abort(new GitwharfError("base/aborted", "the client has gone"));
  channel.once("close", onClose);
  connection.once("close", onClose);
  // What the library has to say here it says by closing, too; without a listener an error would end the process.
  channel.on("error", onClose);
  channel.stderr.on("error", onClose);
  const { signal, release } = linkSignals(left.signal, host.closing);
  const { idleTimeoutMs } = front ?? host.limits;
  const serve = front?.serve ?? serveCommand;
  const { onViolation } = options;
  const { activity, end: endRequest } = beginRequest(host, {
    requestId: randomUUID(),
    transport: "ssh",
    address,
  });
  const streams = createChannelStreams({ connection, channel, idleTimeoutMs, signal, onViolation });
  const caller: ServiceCaller = { identity: login.identity, address, transport: "ssh", activity };
  const exchange: ServiceExchange = { host, caller, signal, sessionId: activity.requestId };
  void (async () => {
    const { recheck } = login;
    const status = await serve(exchange, { ...asked, streams, lfsAuthenticate, recheck, urlPrefix });
    // Behind a front, nothing else bounds how long a client may not read.
    const late = Number.isFinite(host.limits.idleTimeoutMs)
      ? setTimeout(() => onViolation("it does not read how its command ended"), host.limits.idleTimeoutMs)
      : undefined;
    const told = await streams.exit(status);
    clearTimeout(late);
    if (!told) activity.failed(new GitwharfError("base/aborted", "the client has gone"));
    endRequest(`ssh ${shownCommand(asked.text)} ${told ? status : "gone"}`);
    // A client that reads the end of the connection together with the exit status takes the status for lost.
    if (told && !left.signal.aborted) await closedOrLate(left.signal);
    connection.off("close", onClose);
    release();
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
