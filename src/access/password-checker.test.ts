import { describe, expect, it } from "vitest";
import { createPasswordChecker, type PasswordAttempt } from "./password-checker.js";
import { hashPassword, isPasswordHash, type ScryptCost, verifyPassword } from "./password-hash.js";

const CHEAP: ScryptCost = { logN: 4, r: 1, p: 1 };
const STORED = await hashPassword("right", CHEAP);
const attempt = (password: string, more: Partial<PasswordAttempt> = {}): PasswordAttempt => ({
  user: "ada",
  password,
  stored: STORED,
  address: "192.0.2.1",
  ...more,
});
const outcome = (check: Promise<boolean>): Promise<boolean | string> =>
  check.catch((error: { code: string }) => error.code);

describe("a password's hash", () => {
  it("is salted and carries its parameters", async () => {
    expect(STORED).toMatch(/^\$scrypt\$ln=4,r=1,p=1\$/);
    expect(await hashPassword("right", CHEAP)).not.toBe(STORED);
    expect(await verifyPassword("right", STORED)).toBe(true);
    expect(await verifyPassword("Right", STORED)).toBe(false);
    expect(await verifyPassword("", STORED)).toBe(false);
  });

  it("knows a letter and its accent from the same letter with it", async () => {
    expect(await verifyPassword("caf\u0065\u0301", await hashPassword("caf\u00e9", CHEAP))).toBe(true);
  });

  it.each([
    "right",
    "$scrypt$ln=60,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "$scrypt$ln=4,r=1,p=1$$",
    "$2b$10$abcdefghijklmnopqrstuv",
  ])("is not %s", async (text) => {
    expect(isPasswordHash(text)).toBe(false);
    await expect(verifyPassword("x", text)).rejects.toMatchObject({ code: "server/bad-configuration" });
  });
});

describe("the password checker", () => {
  it("tells right from wrong, and an unknown user like a wrong password", async () => {
    const { check } = createPasswordChecker({ cost: CHEAP });
    expect(await check(attempt("right"))).toBe(true);
    expect(await check(attempt("wrong"))).toBe(false);
    expect(await check(attempt("right", { stored: undefined }))).toBe(false);
    expect(await check(attempt("x".repeat(2000)))).toBe(false);
  });

  it("refuses what is too much from one address, and lets another in meanwhile", async () => {
    const { check } = createPasswordChecker({
      cost: CHEAP,
      concurrencyMax: 1,
      perAddressMax: 3,
      queueMax: 5,
    });
    const guesses = Array.from({ length: 50 }, () => outcome(check(attempt("wrong"))));
    const innocent = outcome(check(attempt("right", { address: "198.51.100.7" })));
    expect(await innocent).toBe(true);
    const outcomes = await Promise.all(guesses);
    expect(outcomes.filter((each) => each === false)).toHaveLength(4);
    expect(outcomes.filter((each) => each === "access/too-many-attempts")).toHaveLength(46);
  });

  it("gives a newcomer the place of the address that waits with the most", async () => {
    const { check } = createPasswordChecker({
      cost: CHEAP,
      concurrencyMax: 1,
      perAddressMax: 3,
      queueMax: 4,
    });
    const flood = ["192.0.2.1", "2001:db8::1"].flatMap((address) =>
      Array.from({ length: 4 }, () => outcome(check(attempt("wrong", { address })))),
    );
    expect(await outcome(check(attempt("right", { address: "192.0.2.3" })))).toBe(true);
    expect((await Promise.all(flood)).filter((each) => each === false).length).toBeLessThan(6);
  });

  it("takes a network of IPv6 for one address", async () => {
    const { check } = createPasswordChecker({ cost: CHEAP, concurrencyMax: 1, perAddressMax: 2 });
    const crowd = Array.from({ length: 9 }, (_, i) =>
      outcome(check(attempt("wrong", { address: `2001:db8::${i}` }))),
    );
    expect((await Promise.all(crowd)).filter((each) => each === false)).toHaveLength(3);
  });

  it("remembers who was right, until the password changes", async () => {
    const { check } = createPasswordChecker({
      cost: CHEAP,
      concurrencyMax: 1,
      perAddressMax: 1,
      queueMax: 1,
    });
    expect(await check(attempt("right"))).toBe(true);
    const flood = Array.from({ length: 9 }, () => outcome(check(attempt("wrong"))));
    expect(await outcome(check(attempt("right")))).toBe(true);
    const changed = await hashPassword("other", CHEAP);
    await Promise.all(flood);
    expect(await check(attempt("right", { stored: changed }))).toBe(false);
  });
});
