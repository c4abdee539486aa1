import { describe, expect, it } from "vitest";
import { createAppHosts } from "./app-hosts.js";

describe("host names of apps", () => {
  const appOf = createAppHosts({ hosts: { "WWW.example.org": "shop" } });

  it.each([
    ["shop.localhost", { app: "shop" }],
    ["shop.localhost:5000", { app: "shop" }],
    ["SHOP.LOCALHOST.:5000", { app: "shop" }],
    ["my-shop-2.localhost", { app: "my-shop-2" }],
    ["www.example.org", { app: "shop" }],
    ["www.example.org:443", { app: "shop" }],
  ])("%s is an app's", (host, app) => expect(appOf(host)).toEqual(app));

  it.each([
    "2fast.localhost",
    "a.b.localhost",
    "-x.localhost",
    "x-.localhost",
    "a_b.localhost",
    `${"a".repeat(64)}.localhost`,
  ])("%s can be no app's", (host) => expect(appOf(host)).toBe("unnamed"));

  it.each([
    undefined,
    "",
    "localhost",
    "localhost:5000",
    "127.0.0.1:5000",
    "[::1]:5000",
    "example.org",
    "shop.localhost.evil.example",
    "shop.localhost:5000:1",
    "shop.localhost/x",
    "x@shop.localhost",
    "a".repeat(400),
  ])("%s is not about apps", (host) => expect(appOf(host)).toBeUndefined());

  it("has a domain that can be chosen", () => {
    const chosen = createAppHosts({ domain: "Apps.Example.org" });
    expect(chosen("shop.apps.example.org")).toEqual({ app: "shop" });
    expect(chosen("shop.localhost")).toBeUndefined();
  });

  it.each([{ domain: "a b" }, { hosts: { "x/y": "shop" } }, { hosts: { "x.org": "No App" } }])(
    "refuses %j",
    (options) =>
      expect(() => createAppHosts(options)).toThrow(
        expect.objectContaining({ code: "server/bad-configuration" }),
      ),
  );
});
