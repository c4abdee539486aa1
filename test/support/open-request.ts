/** A request that stays open: bytes are written when the test says so, and what came back is told when it closes. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface OpenRequest {
  readonly socket: Socket;
  write(bytes: string | Buffer): void;
  /** What the server has sent so far. */
  readonly received: string;
  /** Waits until the server has sent something that fits; rejects when it closes before. */
  seen(pattern: RegExp): Promise<string>;
  /** All that the server sent, once the connection is closed (a reset counts). */
  readonly closed: Promise<string>;
}

export async function openRequest(url: string, bytes: string | Buffer = ""): Promise<OpenRequest> {
  const target = new URL(url);
  const socket = connect(Number(target.port), target.hostname);
  const chunks: Buffer[] = [];
  const received = (): string => Buffer.concat(chunks).toString("latin1");
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => undefined);
  const closed = new Promise<string>((resolve) => socket.on("close", () => resolve(received())));
  await once(socket, "connect");
  socket.write(bytes);
  return {
    socket,
    write: (more) => void socket.write(more),
    get received() {
      return received();
    },
    seen: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (pattern.test(received())) resolve(received());
        };
        socket.on("data", look);
        socket.on("close", () => reject(new Error(`closed after: ${received().slice(0, 500)}`)));
        look();
      }),
    closed,
  };
}

/** The head of a POST to a service of a repository. */
export function postHead(
  service: "git-upload-pack" | "git-receive-pack",
  options: {
    readonly repository?: string;
    readonly length?: number | string;
    readonly headers?: readonly string[];
  } = {},
): string {
  const { repository = "app", length, headers = [] } = options;
  return [
    `POST /${repository}.git/${service} HTTP/1.1`,
    "Host: localhost",
    `Content-Type: application/x-${service}-request`,
    ...(service === "git-upload-pack" ? ["Git-Protocol: version=2"] : []),
    ...(length === undefined ? [] : [`Content-Length: ${length}`]),
    ...headers,
    "",
    "",
  ].join("\r\n");
}
