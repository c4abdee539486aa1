import { describe, expect, it } from "vitest";
import { parseListenAddress } from "./listen-address.js";

describe("parseListenAddress", () => {
  it.each([
    [5000, "127.0.0.1", 5000],
    ["5000", "127.0.0.1", 5000],
    [":0", "127.0.0.1", 0],
    ["0.0.0.0:80", "0.0.0.0", 80],
    ["[::1]:5000", "::1", 5000],
    ["localhost:65535", "localhost", 65_535],
  ])("%s", (text, host, port) => expect(parseListenAddress(text)).toEqual({ host, port }));
  it.each(["", "host", "1:2:3", "host:65536", "-1", "[::1]", "a b:1"])("refuses %s", (text) => {
    expect(() => parseListenAddress(text)).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });
});
