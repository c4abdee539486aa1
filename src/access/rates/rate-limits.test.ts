import { describe, expect, it } from "vitest";
import { GitwharfError } from "../../base/errors.js";
import type { AuthenticationAttempt } from "../authenticator.js";
import { wrongCredentials } from "../authenticator.js";
import { addressKey } from "./address-key.js";
import { createRateCounter } from "./rate-counter.js";
import { createRateLimits } from "./rate-limits.js";
import { checkRates, type RateOptions } from "./rates.js";

const HOUR = 3600;

function limits(rates: RateOptions | false, isOpen = false) {
  let asked = 0;
  const made = createRateLimits({
    rates,
    isOpen: () => isOpen,
    identify: async ({ credentials }) => {
      asked++;
      if (typeof credentials === "object" && "password" in credentials && credentials.password !== "right")
        throw wrongCredentials();
      return { user: "ada" };
    },
  });
  return { ...made, asked: () => asked };
}

function attempt(address: string, user: string, password: string): AuthenticationAttempt {
  return { credentials: { kind: "basic", user, password }, address, peerAddress: address, transport: "http" };
}

const refused = expect.objectContaining({ code: "access/too-many-requests" });

describe("a caller by address", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:db8:1:3::9", "2001:db8:1:3::/64"],
    ["nonsense", "unknown"],
    [undefined, "unknown"],
  ])("%s counts as %s", (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});

describe("a counter", () => {
  it("has room for as many as it says, for each key", async () => {
    const counter = createRateCounter({ max: 2, seconds: HOUR });
    expect(await counter.look("a")).toBeUndefined();
    expect([await counter.take("a"), await counter.take("a")]).toEqual([undefined, undefined]);
    const wait = await counter.take("a");
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(HOUR);
    expect(await counter.look("a")).toBeGreaterThan(0);
    expect(await counter.take("b")).toBeUndefined();
  });

  it("has none when it has none for anybody, and no end without bound", async () => {
    expect(await createRateCounter({ max: 0, seconds: 5 }).look("a")).toBe(5);
    expect(await createRateCounter({ max: 0, seconds: 5 }).take("a")).toBe(5);
    expect(await createRateCounter({ max: Infinity, seconds: 5 }).take("a", 1e15)).toBeUndefined();
  });

  it("keeps no more keys than it may", async () => {
    const counter = createRateCounter({ max: 1, seconds: HOUR }, { keysMax: 3 });
    await counter.take("first", 5);
    for (const key of ["a", "b"]) await counter.take(key);
    expect(await counter.look("first")).toBeGreaterThan(0);
    await counter.take("c");
    expect(await counter.look("first")).toBeUndefined();
  });
});

describe("failed attempts", () => {
  const rates = {
    failuresPerAddressAndUser: { max: 3, seconds: HOUR },
    failuresPerAddress: { max: 5, seconds: HOUR },
  };

  it("of one user at one address end in a refusal before anything is checked", async () => {
    const { identify, asked } = limits(rates);
    for (let i = 0; i < 3; i++)
      await expect(identify(attempt("192.0.2.7", "ada", `guess ${i}`))).rejects.toThrow("not valid");
    for (let i = 0; i < 1000; i++)
      await expect(identify(attempt("192.0.2.7", "ada", `guess ${i}`))).rejects.toEqual(refused);
    await expect(identify(attempt("192.0.2.7", "ada", "right"))).rejects.toEqual(refused);
    expect(asked()).toBe(3);
  });

  it("lock out nobody elsewhere, and nobody else there", async () => {
    const { identify } = limits(rates);
    for (let i = 0; i < 4; i++) await identify(attempt("192.0.2.7", "ada", "wrong")).catch(() => undefined);
    await expect(identify(attempt("192.0.2.8", "ada", "right"))).resolves.toEqual({ user: "ada" });
    await expect(identify(attempt("192.0.2.7", "bob", "right"))).resolves.toEqual({ user: "ada" });
  });

  it("of many users at one address, or in one IPv6 network, end as well", async () => {
    const { identify } = limits(rates);
    for (let i = 0; i < 5; i++)
      await identify(attempt(`2001:db8::${i}`, `user${i}`, "wrong")).catch(() => undefined);
    await expect(identify(attempt("2001:db8::99", "eve", "right"))).rejects.toEqual(refused);
    await expect(identify(attempt("2001:db8:0:1::99", "eve", "right"))).resolves.toBeDefined();
  });

  it("do not count when they are right, on the server's own machine, or while it is open", async () => {
    for (const [address, password, isOpen] of [
      ["192.0.2.7", "right", false],
      ["127.0.0.1", "wrong", false],
      ["192.0.2.7", "wrong", true],
    ] as const) {
      const { identify, asked } = limits(rates, isOpen);
      for (let i = 0; i < 9; i++) await identify(attempt(address, "ada", password)).catch(() => undefined);
      expect(asked()).toBe(9);
    }
  });

  it("all at once are let through a few at a time, and no more of them wait than may", async () => {
    let asked = 0;
    const { identify } = createRateLimits({
      rates,
      isOpen: () => false,
      identify: async () => {
        asked++;
        await new Promise(setImmediate);
        throw wrongCredentials();
      },
    });
    const codes = await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        identify(attempt("192.0.2.7", "ada", `guess ${i}`)).catch((error: unknown) =>
          error instanceof GitwharfError ? error.code : "",
        ),
      ),
    );
    // The limit of three, and seven that were under way when it was reached.
    expect(asked).toBeLessThanOrEqual(10);
    expect(codes.filter((code) => code === "access/unauthenticated")).toHaveLength(asked);
    expect(codes.filter((code) => code === "access/too-many-requests")).toHaveLength(1000 - asked);
  });

  it("lock out nobody who was right there before, until what was right is wrong", async () => {
    let secret = "right";
    const { identify } = createRateLimits({
      rates,
      isOpen: () => false,
      identify: async ({ credentials }) => {
        if (typeof credentials === "object" && "password" in credentials && credentials.password === secret)
          return { user: "ada" };
        throw wrongCredentials();
      },
    });
    await identify(attempt("192.0.2.7", "ada", "right"));
    for (let i = 0; i < 9; i++)
      await identify(attempt("192.0.2.7", "ada", `guess ${i}`)).catch(() => undefined);
    await expect(identify(attempt("192.0.2.7", "ada", "right"))).resolves.toEqual({ user: "ada" });
    secret = "new";
    await expect(identify(attempt("192.0.2.7", "ada", "right"))).rejects.toThrow("not valid");
    await expect(identify(attempt("192.0.2.7", "ada", "right"))).rejects.toEqual(refused);
    await expect(identify(attempt("192.0.2.7", "ada", "new"))).rejects.toEqual(refused);
  });

  it("believe no secret that came beside another proof", async () => {
    let method = "client-certificate";
    const { identify } = createRateLimits({
      rates,
      isOpen: () => false,
      identify: async () => {
        if (method === "none") throw wrongCredentials();
        return { user: "ada", method };
      },
    });
    for (let i = 0; i < 9; i++) await identify(attempt("192.0.2.7", "ada", `guess ${i}`));
    method = "none";
    const codes: unknown[] = [];
    for (let i = 0; i < 9; i++)
      codes.push(await identify(attempt("192.0.2.7", "ada", `guess ${i}`)).catch((error: unknown) => error));
    expect(codes.filter((error) => String(error).includes("too many failed attempts"))).toHaveLength(6);
  });

  it("let in a token that nobody guesses, and no other", async () => {
    const { identify } = createRateLimits({
      rates,
      isOpen: () => false,
      isUnguessable: (credentials) =>
        typeof credentials === "object" &&
        "password" in credentials &&
        credentials.password.startsWith("token"),
      identify: async ({ credentials }) => {
        if (
          typeof credentials === "object" &&
          "password" in credentials &&
          credentials.password === "token-right"
        )
          return { user: "ada" };
        throw wrongCredentials();
      },
    });
    for (let i = 0; i < 9; i++)
      await identify(attempt("192.0.2.7", "x", `guess ${i}`)).catch(() => undefined);
    await expect(identify(attempt("192.0.2.7", "x", "token-wrong"))).rejects.toEqual(refused);
    await expect(identify(attempt("192.0.2.7", "x", "token-right"))).resolves.toEqual({ user: "ada" });
  });

  it("do not count when it was the server that failed", async () => {
    let asked = 0;
    const { identify } = createRateLimits({
      rates,
      isOpen: () => false,
      identify: async () => {
        asked++;
        throw new GitwharfError("access/unavailable", "later");
      },
    });
    for (let i = 0; i < 9; i++) await identify(attempt("192.0.2.7", "a", "b")).catch(() => undefined);
    expect(asked).toBe(9);
  });
});

describe("requests", () => {
  it("are counted by address, user and key, each for itself", async () => {
    const one = { max: 1, seconds: HOUR };
    const { admitAddress, admitIdentity } = limits({
      requestsPerAddress: one,
      requestsPerUser: { max: 2, seconds: HOUR },
      requestsPerKey: one,
    });
    await admitAddress("192.0.2.7");
    await expect(admitAddress("192.0.2.7")).rejects.toThrow(
      /too many requests from your address; try again in/,
    );
    await admitAddress("192.0.2.8");
    await admitIdentity({ user: "ada", credentialId: "laptop" });
    await expect(admitIdentity({ user: "ada", credentialId: "laptop" })).rejects.toThrow(/this key or token/);
    await expect(admitIdentity({ user: "ada", credentialId: "other" })).rejects.toThrow(/from you;/);
    await admitIdentity({ user: undefined });
  });

  it("to push count when they push, and are refused from the discovery on", async () => {
    const caller = { address: "192.0.2.7", identity: { user: "ada" } };
    const { admitService } = limits({ pushesPerUser: { max: 1, seconds: HOUR } });
    await admitService(caller, { push: true, discovery: true });
    await admitService(caller, { push: true, discovery: false });
    for (const discovery of [true, false])
      await expect(admitService(caller, { push: true, discovery })).rejects.toThrow(/too many pushes/);
    await admitService(caller, { push: false, discovery: false });
  });

  it("are refused when too many bytes have gone before", async () => {
    const caller = { address: "192.0.2.7", identity: { user: "ada" } };
    const { admitService, countBytes } = limits({ bytesPerUser: { max: 1000, seconds: HOUR } });
    await countBytes(caller, 999);
    await admitService(caller, { push: false, discovery: true });
    await countBytes(caller, 1);
    await expect(admitService(caller, { push: false, discovery: true })).rejects.toThrow(/too many bytes/);
  });

  it("are as many as anybody likes without rates", async () => {
    const { admitAddress, connectionsPerAddress, holdConnection } = limits(false);
    for (let i = 0; i < 20_000; i++) {
      await admitAddress("192.0.2.7");
      holdConnection({ user: "ada", credentialId: "laptop" });
    }
    expect(connectionsPerAddress).toBe(Infinity);
  });
});

describe("connections that are held", () => {
  it("are given back once, each by its own answer", () => {
    const { holdConnection } = limits({ connectionsPerUser: 2 });
    const ada = { user: "ada" };
    const [first, second] = [holdConnection(ada), holdConnection(ada)];
    expect(() => holdConnection(ada)).toThrow(/too many connections from you; try again in 5 seconds/);
    holdConnection({ user: "eve" });
    first();
    first();
    holdConnection(ada);
    expect(() => holdConnection(ada)).toThrow(/too many connections/);
    second();
    holdConnection(ada);
  });

  it("of a key count apart from those of its user, and one that is refused counts for neither", () => {
    const { holdConnection } = limits({ connectionsPerUser: 2, connectionsPerKey: 1 });
    holdConnection({ user: "ada", credentialId: "laptop" });
    for (let tries = 0; tries < 3; tries++)
      expect(() => holdConnection({ user: "ada", credentialId: "laptop" })).toThrow(/from this key or token/);
    holdConnection({ user: "ada", credentialId: "other" });
  });

  it("of nobody in particular are not counted", () => {
    const { holdConnection } = limits({ connectionsPerUser: 0, connectionsPerKey: 0 });
    for (let i = 0; i < 1000; i++) holdConnection({ user: undefined });
    expect(() => holdConnection({ user: "ada" })).toThrow(/too many connections/);
  });
});

describe("the option rates", () => {
  it.each<[unknown, RegExp]>([
    [5, /rates is an object/],
    [true, /rates is an object/],
    [{ requests: { max: 1, seconds: 1 } }, /there is no rate 'requests'; known are failuresPerAddress, /],
    [{ requestsPerUser: 5 }, /rates.requestsPerUser is { max, seconds }/],
    [{ requestsPerUser: { max: -1, seconds: 1 } }, /rates.requestsPerUser is/],
    [{ requestsPerUser: { max: 1, seconds: 0 } }, /rates.requestsPerUser is/],
    [{ requestsPerUser: { max: 1, seconds: 1e9 } }, /rates.requestsPerUser is/],
    [{ connectionsPerAddress: "5" }, /rates.connectionsPerAddress is a number/],
    [{ exempt: "loopback" }, /rates.exempt is a list/],
  ])("is refused where it is wrong: %o", (rates, message) => {
    expect(() => checkRates(rates)).toThrow(message);
  });
});
