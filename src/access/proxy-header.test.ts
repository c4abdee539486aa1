import { describe, expect, it } from "vitest";
import type { AuthenticationAnswer } from "./authenticator.js";
import { createProxyHeaderAuthenticator } from "./proxy-header.js";

const authenticator = createProxyHeaderAuthenticator({
  header: "X-Forwarded-User",
  proxies: ["10.0.0.0/8", "::1"],
});

function ask(peerAddress: string | undefined, ...values: readonly string[]): unknown {
  return authenticator.authenticate({
    credentials: undefined,
    // What a header claims about addresses decides nothing here.
    address: "10.0.0.1",
    peerAddress,
    transport: "http",
    headerValues: (name) => (name === "X-Forwarded-User" ? values : []),
  }) as AuthenticationAnswer;
}

const ada = { identity: { user: "ada", method: "proxy-header" } };

describe("a header that names the user", () => {
  it.each(["10.1.2.3", "::ffff:10.1.2.3", "::1"])("is believed from %s", (peer) => {
    expect(ask(peer, "ada")).toEqual(ada);
  });

  it.each([undefined, "192.0.2.1", "127.0.0.1", "::ffff:192.0.2.1", "11.0.0.1", "10.1.2", "not an address"])(
    "is as if it were not there from %s",
    (peer) => expect(ask(peer, "root")).toBeUndefined(),
  );

  it("is refused when it came twice or names nobody, and passed over when it is empty", () => {
    expect(ask("::1", "ada", "root")).toHaveProperty("refused");
    expect(ask("::1", "ada, root")).toHaveProperty("refused");
    expect(ask("::1", "")).toBeUndefined();
    expect(ask("::1")).toBeUndefined();
  });

  it.each([
    ["X-User", []],
    ["X-User", ["10.0.0.0/33"]],
    ["X User", ["::1"]],
    ["Authorization", ["::1"]],
    ["X-User", ["proxy.example.org"]],
  ])("cannot be %s from %j", (header, proxies) => {
    expect(() => createProxyHeaderAuthenticator({ header, proxies })).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });
});
