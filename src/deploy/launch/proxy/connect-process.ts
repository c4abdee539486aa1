/** A connection to one of an app's processes: the least busy that takes one. */
import { connect, type Socket } from "node:net";
import { GitwharfError } from "../../../base/errors.js";
import type { SupervisedProcess } from "../supervised-process.js";

export interface ProcessConnection {
  readonly socket: Socket;
  readonly process: SupervisedProcess;
  /** The request has ended. */
  release(): void;
}

/** @throws server/busy: none is up; deploy/no-answer: none takes a connection; base/aborted */
export async function connectProcess(
  processes: () => readonly SupervisedProcess[],
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<ProcessConnection> {
  const tried = new Set<SupervisedProcess>();
  for (;;) {
    const next = leastBusy(processes().filter((one) => !tried.has(one) && one.port !== undefined));
    if (next?.port === undefined) break;
    tried.add(next);
    const release = next.requests.begin();
    try {
      return { socket: await connectTo(next.port, timeoutMs, signal), process: next, release };
    } catch (error) {
      release();
      if (signal.aborted) throw new GitwharfError("base/aborted", "the client has gone", { cause: error });
    }
  }
  if (tried.size === 0) throw new GitwharfError("server/busy", "the app has no web process that is up");
  throw new GitwharfError("deploy/no-answer", "the app takes no connections");
}

/** The first of those that are at work on the fewest requests. */
function leastBusy(processes: readonly SupervisedProcess[]): SupervisedProcess | undefined {
  return processes.reduce<SupervisedProcess | undefined>(
    (best, one) => (best === undefined || one.requests.count < best.requests.count ? one : best),
    undefined,
  );
}

function connectTo(port: number, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, signal });
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => fail(new Error("no connection in time")));
    socket.on("error", fail);
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.removeAllListeners("timeout");
      socket.off("error", fail);
      // Until the request listens: a socket that breaks must not end the process.
      socket.on("error", () => undefined);
      resolve(socket);
    });
  });
}
