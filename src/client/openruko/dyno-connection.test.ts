/** Time and endings of a connection to a dyno, with a pair of streams in its place; with git and TLS they are shown in test/deploy-dyno.test.ts. */
import { Duplex } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type DynoConnection, openDynoConnection } from "./dyno-connection.js";

const IDLE_MS = 60_000;
const EXIT_MS = 10_000;
const PACKET = "0005\x01";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function connect() {
  const written: string[] = [];
  const held: (() => void)[] = [];
  let isHeld = false;
  let cuts = 0;
  let firstBytes = 0;
  const leaving = new AbortController();
  const socket = new Duplex({
    read: () => undefined,
    write(chunk, _encoding, done) {
      written.push(String(chunk));
      if (isHeld) held.push(done);
      else done();
    },
    autoDestroy: false,
    highWaterMark: 1,
  });
  const connection = openDynoConnection({
    rendezvous: {
      socket: socket as unknown as TLSSocket,
      cut() {
        cuts++;
        socket.destroy();
      },
    },
    onErrors: async () => undefined,
    idleTimeoutMs: IDLE_MS,
    exitTimeoutMs: EXIT_MS,
    onFirstByte: () => void firstBytes++,
    signal: leaving.signal,
  });
  return {
    connection,
    socket,
    written,
    leaving,
    cuts: () => cuts,
    firstBytes: () => firstBytes,
    hold: () => void (isHeld = true),
    drain: () => {
      isHeld = false;
      for (const done of held.splice(0)) done();
    },
  };
}

async function readOne({ input }: DynoConnection): Promise<string | undefined> {
  const next = await input[Symbol.asyncIterator]().next();
  return next.done === true ? undefined : String(next.value);
}

/** Lets streams and promises come to rest. */
async function rest(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await turn();
}

describe("a dyno's silence", () => {
  it("ends the connection, unless something comes now and then", async () => {
    const { connection, socket, cuts } = connect();
    for (let beats = 0; beats < 3; beats++) {
      const reading = readOne(connection);
      await rest();
      await vi.advanceTimersByTimeAsync(IDLE_MS - 1);
      socket.push(PACKET);
      expect(await reading).toBe(PACKET);
    }
    const reading = readOne(connection);
    const refused = expect(reading).rejects.toThrow("the dyno has said nothing for 60 seconds");
    await rest();
    await vi.advanceTimersByTimeAsync(IDLE_MS - 1);
    expect(cuts()).toBe(0);
    await vi.advanceTimersByTimeAsync(2);
    await refused;
    expect(cuts()).toBe(1);
  });

  it("is not the time in which it is written to, or nobody reads", async () => {
    const { connection, socket, hold, drain } = connect();
    hold();
    const writing = connection.write(Buffer.from("pack"));
    const reading = readOne(connection);
    await rest();
    await vi.advanceTimersByTimeAsync(IDLE_MS - 1);
    drain();
    await writing;
    await vi.advanceTimersByTimeAsync(IDLE_MS - 1);
    socket.push(PACKET);
    expect(await reading).toBe(PACKET);
    await vi.advanceTimersByTimeAsync(IDLE_MS * 3);
    const later = readOne(connection);
    await rest();
    await vi.advanceTimersByTimeAsync(IDLE_MS - 1);
    socket.push(PACKET);
    expect(await later).toBe(PACKET);
  });
});

describe("a connection to a dyno", () => {
  it("is closed when the dyno has gone, and cut off when it has not in time", async () => {
    const good = connect();
    const closing = good.connection.close();
    await rest();
    expect(good.socket.writableFinished).toBe(true);
    good.socket.push(null);
    expect(await closing).toBe("gone");
    expect(good.cuts()).toBe(0);
    const deaf = connect();
    const cutting = deaf.connection.close();
    expect(deaf.connection.close()).toBe(cutting);
    await rest();
    await vi.advanceTimersByTimeAsync(EXIT_MS - 1);
    expect(deaf.cuts()).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(await cutting).toBe("cut");
    expect(deaf.cuts()).toBe(1);
  });

  it("ends what reads and what waits to write", async () => {
    const { connection, socket, hold } = connect();
    hold();
    const writing = connection.write(Buffer.from("pack"));
    const reading = readOne(connection);
    await rest();
    socket.destroy();
    expect(await reading).toBeUndefined();
    await writing;
    await expect(connection.write(Buffer.from("more"))).rejects.toMatchObject({ code: "base/aborted" });
  });

  it("is given up by its signal", async () => {
    const { connection, leaving, hold } = connect();
    hold();
    const writing = connection.write(Buffer.from("pack"));
    const refused = expect(readOne(connection)).rejects.toMatchObject({ code: "base/aborted" });
    await rest();
    leaving.abort("it was cancelled");
    await refused;
    await writing;
  });

  it("waits no longer for a first byte once there is one, or will be none", async () => {
    const spoken = connect();
    spoken.socket.push(PACKET);
    await rest();
    expect(spoken.firstBytes()).toBe(1);
    const mute = connect();
    expect(mute.firstBytes()).toBe(0);
    mute.socket.destroy();
    await rest();
    expect(mute.firstBytes()).toBe(1);
  });
});
