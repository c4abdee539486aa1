/** Bytes that go in on one side come out on the other, all of them, in order, whoever is slow. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import type { Readable } from "node:stream";
import ssh2, { type ServerChannel } from "ssh2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSshClient } from "../../../test/support/ssh-client.js";
import { libraryAlgorithms } from "./algorithms.js";
import { type ChannelStreams, createChannelStreams } from "./channel-streams.js";
import { makeTransientHostKeys } from "./host-keys.js";
import { channelParts } from "./library.js";

const MiB = 1024 * 1024;

/** Bytes by which a hole, a repetition and a mix-up show. */
function block(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed + 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

interface Served {
  readonly streams: ChannelStreams;
  readonly channel: ServerChannel;
  readonly left: AbortController;
  readonly violations: string[];
}

describe("the streams of a channel", () => {
  let directory: string;
  let listener: Server;
  let port: number;
  let serve: (served: Served, command: string) => Promise<void>;

  beforeAll(async () => {
    directory = mkdtempSync(`${tmpdir()}/gitwharf-test-`);
    const keys = await makeTransientHostKeys();
    const server = new ssh2.Server(
      { hostKeys: keys.map(({ privateKey }) => privateKey), algorithms: libraryAlgorithms() },
      (connection) => {
        connection.on("error", () => undefined);
        connection.on("authentication", (context) => context.accept());
        connection.on("session", (accept) => {
          accept().on("exec", (acceptCommand, _reject, { command }) => {
            const channel = acceptCommand();
            const left = new AbortController();
            const violations: string[] = [];
            channel.once("close", () => left.abort());
            channel.on("error", () => undefined);
            const streams = createChannelStreams({
              connection,
              channel,
              idleTimeoutMs: 20_000,
              signal: left.signal,
              onViolation: (why) => {
                violations.push(why);
                connection.end();
              },
            });
            void serve({ streams, channel, left, violations }, command).catch(() => undefined);
          });
        });
      },
    );
    listener = createServer((socket) => server.injectSocket(socket));
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    port = (listener.address() as AddressInfo).port;
  });
  afterAll(() => {
    listener.close();
    rmSync(directory, { recursive: true, force: true });
  });

  interface Client {
    readonly child: ReturnType<typeof spawn>;
    readonly status: Promise<number | null>;
  }
  function start(command: string, ...options: string[]): Client {
    const client = createSshClient({
      directory,
      port,
      options: ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", ...options],
    });
    const args = [...client.arguments, "-p", String(port), "git@127.0.0.1", command];
    const child = spawn("ssh", args, { stdio: ["pipe", "pipe", "pipe"] });
    child.stdin.on("error", () => undefined);
    return { child, status: new Promise((resolve) => child.once("close", resolve)) };
  }
  /** @param pauseEvery bytes after which the reader rests for a turn or more */
  function digest(stream: Readable, pauseEvery: number): Promise<{ bytes: number; sha256: string }> {
    const hash = createHash("sha256");
    let bytes = 0;
    let rest = pauseEvery;
    stream.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
      rest -= chunk.length;
      if (rest > 0) return;
      rest = pauseEvery;
      stream.pause();
      setTimeout(() => stream.resume(), 3);
    });
    return new Promise((resolve) => {
      stream.once("end", () => resolve({ bytes, sha256: hash.digest("hex") }));
    });
  }

  it.each(["quick", "slow output", "slow errors", "new keys all the time"])(
    "keep standard output and standard error apart: %s",
    async (kind) => {
      const out = block(1, 12 * MiB);
      const errors = block(2, 6 * MiB);
      serve = async ({ streams }) => {
        // Two writers that know nothing of each other.
        const pieces = async (bytes: Buffer, size: number, sink: ChannelStreams["output"]): Promise<void> => {
          for (let at = 0; at < bytes.length; at += size) await sink.write(bytes.subarray(at, at + size));
        };
        await Promise.all([pieces(out, 100_003, streams.output), pieces(errors, 30_011, streams.errors)]);
        await streams.exit(7);
      };
      const { child, status } = start("both", ...(kind.startsWith("new keys") ? ["RekeyLimit=512K"] : []));
      const [read, readErrors] = await Promise.all([
        digest(child.stdout as Readable, kind === "slow output" ? 512 * 1024 : Infinity),
        digest(child.stderr as Readable, kind === "slow errors" ? 256 * 1024 : Infinity),
      ]);
      const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
      expect(read).toEqual({ bytes: out.length, sha256: sha256(out) });
      expect(readErrors).toEqual({ bytes: errors.length, sha256: sha256(errors) });
      expect(await status).toBe(7);
    },
  );

  it("take what a client sends, and no more than they have room for", async () => {
    const sent = block(3, 16 * MiB);
    let heldMax = 0;
    serve = async ({ streams, channel }) => {
      const hash = createHash("sha256");
      for await (const chunk of streams.input) {
        heldMax = Math.max(heldMax, 2 * MiB - channelParts(channel).incoming.window);
        hash.update(chunk);
        await new Promise(setImmediate);
      }
      await streams.output.write(Buffer.from(hash.digest("hex")));
      await streams.exit(0);
    };
    const { child, status } = start("input");
    child.stdin?.end(sent);
    const answer: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => answer.push(chunk));
    expect(await status).toBe(0);
    expect(Buffer.concat(answer).toString()).toBe(createHash("sha256").update(sent).digest("hex"));
    expect(heldMax).toBeLessThanOrEqual(2 * MiB);
  });

  it("send what is on standard error before they exit", async () => {
    const text = block(4, 3 * MiB);
    serve = async ({ streams }) => {
      void streams.errors.write(text);
      await streams.exit(3);
    };
    const { child, status } = start("errors");
    const read = await digest(child.stderr as Readable, 128 * 1024);
    expect(read.bytes).toBe(text.length);
    expect(await status).toBe(3);
  });

  it("put one-byte packets together", async () => {
    const bytes = block(5, 4096);
    let count = 0;
    let received: Buffer = Buffer.alloc(0);
    const allThere = new Promise<void>((resolve) => {
      serve = async ({ streams, channel }) => {
        const parts = channelParts(channel);
        for (const byte of bytes) parts.push(Buffer.from([byte]));
        for await (const chunk of streams.input) {
          count++;
          received = Buffer.concat([received, chunk]);
          if (received.length === bytes.length) break;
        }
        resolve();
        await streams.exit(0);
      };
    });
    const { status } = start("bytes");
    await allThere;
    expect(received.equals(bytes)).toBe(true);
    expect(count).toBeLessThan(10);
    expect(await status).toBe(0);
  });

  it("end every wait when the client leaves", async () => {
    const ended: unknown[] = [];
    const leaving: { child?: Client["child"] } = {};
    const settled = new Promise<void>((resolve) => {
      serve = async ({ streams, left }) => {
        const reading = (async () => {
          for await (const chunk of streams.input) expect(chunk.length).toBeGreaterThan(0);
        })();
        // More than the window, the socket and the pipe take: it has to wait.
        const writing = Promise.resolve(streams.output.write(block(6, 32 * MiB)));
        setTimeout(() => leaving.child?.kill("SIGKILL"), 100);
        for (const result of await Promise.allSettled([reading, writing])) {
          ended.push(
            result.status === "rejected" ? (result.reason as { code?: string }).code : result.status,
          );
        }
        expect(left.signal.aborted).toBe(true);
        ended.push(await streams.exit(0));
        resolve();
      };
    });
    const client = start("leaves");
    leaving.child = client.child;
    client.child.stdout?.pause();
    await settled;
    expect(ended).toEqual(["base/aborted", "base/aborted", false]);
    await client.status;
  });

  it("cut off a client that sends more than its window", async () => {
    const over = new Promise<string[]>((resolve) => {
      serve = async ({ channel, violations }) => {
        const parts = channelParts(channel);
        parts.incoming.window = -1;
        parts.push(Buffer.alloc(10));
        resolve(violations);
      };
    });
    const { status } = start("over");
    expect(await over).toEqual(["it sent more than it was allowed to"]);
    expect(await status).toBe(255);
  });
});
