/**
 * Meets a dyno: TLS to its host, verified, and the two lines that say who is wanted. They are a record of their own, which
 * dyno hosts rely on.
 *
 *   SECRET\nDYNO_ID\n, then the bytes of the command both ways
 */
import { readFile } from "node:fs/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { Dyno } from "../../access/openruko/api-server.js";
import type { CheckedOpenrukoOptions } from "../../access/openruko/openruko-options.js";
import { abortedError, GitwharfError } from "../../base/errors.js";

export type RendezvousOptions = Pick<
  CheckedOpenrukoOptions,
  "rendezvousPort" | "rendezvousSecret" | "rendezvousCaFile" | "rendezvousServerName" | "heartbeatMs"
>;

export interface Rendezvous {
  /** Nothing has been read of it. */
  readonly socket: TLSSocket;
  /**
   * Resets the connection, so that the host does not take it for one that ended. Where it has been told the end before,
   * the system has no reset any more: the host learns of it when it writes.
   */
  cut(): void;
}

/** @throws server/build-unavailable, with the cause for the log; base/aborted */
export async function openRendezvous(
  { host, dynoId }: Dyno,
  options: RendezvousOptions,
  signal: AbortSignal,
): Promise<Rendezvous> {
  const { rendezvousCaFile, rendezvousServerName: name, rendezvousPort: port } = options;
  try {
    const ca = rendezvousCaFile === undefined ? undefined : await readFile(rendezvousCaFile);
    const raw = connectTcp({ host, port });
    await begun(raw, "connect", signal);
    raw.setNoDelay(true);
    raw.setKeepAlive(true, options.heartbeatMs);
    const servername = name ?? (isIP(host) === 0 ? host : undefined);
    const socket = connectTls({
      socket: raw,
      host,
      minVersion: "TLSv1.2",
      ...(ca === undefined ? {} : { ca }),
      ...(servername === undefined ? {} : { servername }),
    });
    // Not before the certificate has been found good.
    await begun(socket, "secureConnect", signal);
    socket.write(`${options.rendezvousSecret}\n${dynoId}\n`);
    return { socket, cut: () => cut(raw, socket) };
  } catch (cause) {
    if (signal.aborted) throw abortedError(signal);
    throw new GitwharfError("server/build-unavailable", "the build server cannot be reached", { cause });
  }
}

function cut(raw: Socket, socket: TLSSocket): void {
  const hasToldEnd = socket.writableEnded && socket.writableLength === 0;
  if (!raw.destroyed && !hasToldEnd) raw.resetAndDestroy();
  socket.destroy();
}

function begun(socket: Socket, event: "connect" | "secureConnect", signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => void socket.destroy(abortedError(signal));
    // Stays: a socket without it would end the process.
    socket.on("error", reject);
    const onClose = (): void => {
      signal.removeEventListener("abort", onAbort);
      reject(new Error("the connection was closed"));
    };
    socket.once("close", onClose);
    socket.once(event, () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("close", onClose);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
