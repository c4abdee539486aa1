import { Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createStrangers, type Strangers } from "./strangers.js";

describe("strangers", () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  function arrive(strangers: Strangers, address: string): Socket {
    const socket = new Socket();
    sockets.push(socket);
    socket.once("close", () => strangers.remove(socket));
    strangers.add(socket, address);
    return socket;
  }

  it("of one address push out their own, the oldest first", () => {
    const strangers = createStrangers(3);
    const innocent = arrive(strangers, "192.0.2.1");
    const crowd = Array.from({ length: 9 }, () => {
      const socket = arrive(strangers, "192.0.2.7");
      if (socket.destroyed) throw new Error("the newest has gone");
      return socket;
    });
    expect(innocent.destroyed).toBe(false);
    expect(crowd.map(({ destroyed }) => destroyed)).toEqual([
      ...Array.from({ length: 7 }, () => true),
      false,
      false,
    ]);
  });

  it("of as many addresses: the oldest goes", () => {
    const strangers = createStrangers(2);
    const [first, second, third] = ["a", "b", "c"].map((address) => arrive(strangers, address));
    expect([first, second, third].map((socket) => socket?.destroyed)).toEqual([true, false, false]);
  });

  it("that have signed in are no strangers", () => {
    const strangers = createStrangers(1);
    const first = arrive(strangers, "a");
    strangers.remove(first);
    arrive(strangers, "a");
    expect(first.destroyed).toBe(false);
  });
});
