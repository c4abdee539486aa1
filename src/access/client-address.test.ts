import { describe, expect, it } from "vitest";
import { createClientAddress } from "./client-address.js";

describe("the address that a request counts for", () => {
  const addressOf = createClientAddress(["10.0.0.0/8", "2001:db8:ff::/48"]);

  it.each<[string, string | undefined, readonly string[], string | undefined]>([
    ["is that of the connection", "192.0.2.7", [], "192.0.2.7"],
    ["is not what an unlisted peer says", "192.0.2.7", ["198.51.100.1"], "192.0.2.7"],
    ["is what a listed proxy says", "10.0.0.5", ["198.51.100.1"], "198.51.100.1"],
    ["is read from the end", "10.0.0.5", ["127.0.0.1, 198.51.100.1"], "198.51.100.1"],
    [
      "is looked for behind further listed proxies",
      "10.0.0.5",
      ["203.0.113.9, 198.51.100.1, 10.1.1.1"],
      "198.51.100.1",
    ],
    ["is read over several headers", "10.0.0.5", ["203.0.113.9", "198.51.100.1", "10.1.1.1"], "198.51.100.1"],
    ["is the first proxy's when all are listed", "10.0.0.5", ["10.2.2.2, 10.1.1.1"], "10.2.2.2"],
    ["is the proxy's when it says nothing", "10.0.0.5", [], "10.0.0.5"],
    ["is the proxy's when what came is no address", "10.0.0.5", ["198.51.100.1, unknown"], "10.0.0.5"],
    ["is the proxy's when what came is empty", "10.0.0.5", ["198.51.100.1,"], "10.0.0.5"],
    ["is no number that could be an address", "10.0.0.5", ["3221225985"], "10.0.0.5"],
    ["is taken without a port", "10.0.0.5", ["198.51.100.1:4711"], "198.51.100.1"],
    ["is taken out of brackets", "10.0.0.5", ["[2001:db8::7]:4711"], "2001:db8::7"],
    ["knows a listed IPv6 network", "2001:db8:ff::1", ["198.51.100.1"], "198.51.100.1"],
    ["knows IPv4 in IPv6", "::ffff:10.0.0.5", ["::ffff:198.51.100.1"], "198.51.100.1"],
    ["has no zone", "fe80::1%eth0", [], "fe80::1"],
    ["is unknown where there is none", undefined, ["198.51.100.1"], undefined],
  ])("%s", (_, peer, forwarded, expected) => {
    expect(addressOf(peer, forwarded)).toBe(expected);
  });

  it("does not follow a header without end", () => {
    const hops = Array.from({ length: 5000 }, () => "10.1.1.1");
    expect(addressOf("10.0.0.5", ["198.51.100.1", ...hops])).toBe("10.1.1.1");
  });

  it("believes nobody where no proxy is listed", () => {
    expect(createClientAddress([])("127.0.0.1", ["198.51.100.1"])).toBe("127.0.0.1");
  });

  it("needs a list that can be read", () => {
    expect(() => createClientAddress(["10.0.0.0/99"])).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });
});
