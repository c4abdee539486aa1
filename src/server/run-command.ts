/** A command of the SSH server over streams of the caller's: for who stands behind a stock sshd. */
import { randomUUID } from "node:crypto";
import type { Identity } from "../engine/push.js";
import { beginRequest } from "../transport/observed-request.js";
import type { ServiceHost } from "../transport/service-host.js";
import {
  type CommandFront,
  type CommandStreams,
  serveCommand,
  shownCommand,
} from "../transport/ssh/serve-command.js";
import type { LfsAuthenticate } from "../transport/ssh/lfs-authenticate.js";

export interface CommandRequest extends CommandStreams {
  /** Who has signed in; it is the caller's business that it is true. */
  readonly identity: Identity;
  readonly address: string | undefined;
  /** `git-upload-pack 'app.git'` and the like; undefined is answered with a friendly line. */
  readonly command: string | undefined;
  readonly gitProtocol?: string | undefined;
  /** @default `git@HOST:` */
  readonly urlPrefix?: string;
  readonly signal: AbortSignal;
}

/** Never throws. @returns the exit status */
export async function runCommand(
  host: ServiceHost,
  request: CommandRequest,
  about: {
    readonly lfsAuthenticate: LfsAuthenticate | undefined;
    /** In place of this server's own repositories. */
    readonly front: CommandFront | undefined;
  },
): Promise<number> {
  const { identity, address, command: text, gitProtocol, urlPrefix = "git@HOST:" } = request;
  const { activity, end } = beginRequest(host, { requestId: randomUUID(), transport: "ssh", address });
  const caller = { identity, address, transport: "ssh" as const, activity };
  const signal = AbortSignal.any([request.signal, host.closing]);
  const { lfsAuthenticate, front } = about;
  const serve = front?.serve ?? serveCommand;
  const status = await serve(
    { host, caller, signal, sessionId: activity.requestId },
    { text, gitProtocol, streams: request, lfsAuthenticate, urlPrefix },
  );
  end(`ssh ${shownCommand(text)} ${status}`);
  return status;
}
