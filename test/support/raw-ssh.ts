/** An SSH connection whose encryption is the library's; from signing in on a test writes every message itself. */
import ssh2 from "ssh2";
import { encodeSshString } from "../../src/access/ssh-wire.js";
import type { LibraryProtocol } from "../../src/transport/ssh/library.js";

export interface RawSsh {
  /** What signatures are bound to. */
  readonly sessionId: Buffer;
  send(payload: Buffer): void;
  /** The next message of one of these types; undefined: the connection was closed before. */
  next(...types: readonly number[]): Promise<Buffer | undefined>;
  close(): void;
}

export interface UserauthRequest {
  readonly user?: string;
  readonly algorithm: string;
  readonly blob: Buffer;
}

/** RFC 4250, section 4.1.2. */
export const SSH = {
  userauthFailure: 51,
  userauthSuccess: 52,
  publicKeyOk: 60,
  channelOpenConfirmation: 91,
  channelOpenFailure: 92,
  channelSuccess: 99,
  channelFailure: 100,
} as const;

interface Insides extends LibraryProtocol {
  readonly _kex: LibraryProtocol["_kex"] & { readonly sessionID: Buffer };
  readonly _decipher: { _onPayload: (payload: Buffer) => void };
}

export async function openRawSsh(port: number): Promise<RawSsh> {
  const client = new ssh2.Client();
  const { _protocol: protocol } = await new Promise<{ readonly _protocol: Insides }>((resolve, reject) => {
    client.once("error", reject);
    client.once("handshake", () => resolve(client as unknown as { readonly _protocol: Insides }));
    client.connect({ host: "127.0.0.1", port, username: "raw", readyTimeout: 0 });
  });
  const answers: Buffer[] = [];
  let isClosed = false;
  let wake = (): void => undefined;
  client.removeAllListeners("error").on("error", () => undefined);
  client.once("close", () => {
    isClosed = true;
    wake();
  });
  protocol._decipher._onPayload = (payload) => {
    answers.push(Buffer.from(payload));
    wake();
  };
  return {
    sessionId: Buffer.from(protocol._kex.sessionID),
    send(payload) {
      const { write } = protocol._packetRW;
      const packet = write.alloc(payload.length);
      payload.copy(packet, write.allocStart);
      protocol._cipher.encrypt(write.finalize(packet));
    },
    async next(...types) {
      for (;;) {
        for (let answer = answers.shift(); answer !== undefined; answer = answers.shift())
          if (types.includes(answer[0] ?? 0)) return answer;
        if (isClosed) return undefined;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    close: () => void client.destroy(),
  };
}

/** The message up to where its signature goes; with `isSigned` it is what is signed, behind the session's id. */
export function publicKeyRequest(request: UserauthRequest, isSigned: boolean): Buffer {
  const { user = "git", algorithm, blob } = request;
  return Buffer.concat([
    Buffer.from([50]),
    ...[user, "ssh-connection", "publickey"].map(encodeSshString),
    Buffer.from([isSigned ? 1 : 0]),
    encodeSshString(algorithm),
    encodeSshString(blob),
  ]);
}

export function sessionOpen(): Buffer {
  return Buffer.concat([
    Buffer.from([90]),
    encodeSshString("session"),
    Buffer.from("00000000" + "00100000" + "00008000", "hex"),
  ]);
}

export function sessionExec(command: string): Buffer {
  return Buffer.concat([
    Buffer.from([98, 0, 0, 0, 0]),
    encodeSshString("exec"),
    Buffer.from([1]),
    encodeSshString(command),
  ]);
}
