/**
 * Guessing: 10,000 wrong passwords, tokens and signatures. What the server spends on them is bounded, and nobody else is
 * locked out, neither elsewhere nor, who was in before, at the same address. Addresses are told by a trusted proxy.
 */
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createAccessToken } from "../src/access/access-token.js";
import { hashPassword } from "../src/access/password-hash.js";
import type { RateOptions } from "../src/access/rates/rates.js";
import { type AccessStore, createAccessStore } from "../src/database/access-store.js";
import { type Database, openDatabase, parseDatabaseLocation } from "../src/database/open-database.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { calledFrom, type Doors, gitHeaders, openDoors } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const GUESSER = "192.0.2.7";
const ELSEWHERE = "198.51.100.1";
const HOUR = 3600;
/** Cheap enough for tests; the parameters are in the hash. */
const CHEAP = { logN: 10, r: 8, p: 1 };
/** One more than the limit may be under way when it is reached, for each that is at work at once. */
const UNDER_WAY = 8;
const CROWD = 64;

let workspace: GitClient;
let database: Database;
let store: AccessStore;
let location: string;
let doors: Doors;
let agent: Agent;

beforeAll(async () => {
  workspace = createWorkspace();
  location = `sqlite:${join(workspace.directory, "access.sqlite")}`;
  database = await openDatabase(parseDatabaseLocation(location));
  store = createAccessStore(database);
  for (const name of ["ada", "bob", "carol", "u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9"])
    await store.addUser({ name, password: await hashPassword(`right of ${name}`, CHEAP) });
});
afterAll(async () => {
  await database.close();
  removeDirectory(workspace);
});
beforeEach(() => {
  agent = new Agent({ keepAlive: true, maxSockets: CROWD });
});
afterEach(async () => {
  agent.destroy();
  await doors.close();
});

async function serve(rates: RateOptions = {}, options: Partial<GitServerOptions> = {}): Promise<void> {
  doors = await openDoors(workspace, {
    database: location,
    authenticate: undefined as never,
    policies: [{ effect: "allow", users: ["@users"] }],
    trustedProxies: ["loopback"],
    autoCreate: "read",
    rates,
    ...options,
  });
}

function ask(
  headers: Record<string, string>,
): Promise<{ readonly status: number; readonly retryAfter: number }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(doors.httpUrl);
    const path = "/app.git/info/refs?service=git-upload-pack";
    const outgoing = request({ hostname, port, path, headers, agent }, (incoming) => {
      incoming.resume();
      incoming.on("end", () =>
        resolve({ status: incoming.statusCode ?? 0, retryAfter: Number(incoming.headers["retry-after"]) }),
      );
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}
const statusOf = async (headers: Record<string, string>): Promise<number> => (await ask(headers)).status;
const right = (user: string, address: string): Record<string, string> =>
  calledFrom(address, user, `right of ${user}`);
const bearer = (token: string, address: string): Record<string, string> => ({
  "X-Forwarded-For": address,
  Authorization: `Bearer ${token}`,
});

interface Flood {
  /** How often each status was answered. */
  readonly counts: ReadonlyMap<number, number>;
  /** Credentials that the server has looked at and found wrong. */
  readonly checked: number;
}

/** @param midway called once when half of them are on their way */
async function flood(
  count: number,
  headersOf: (i: number) => Record<string, string>,
  midway: () => Promise<void> = async () => undefined,
): Promise<Flood> {
  const counts = new Map<number, number>();
  let next = 0;
  let middle: Promise<void> | undefined;
  const guess = async (): Promise<void> => {
    while (next < count) {
      const i = next++;
      if (i >= count / 2 && middle === undefined) {
        middle = midway();
        // It is awaited below.
        middle.catch(() => undefined);
      }
      const { status, retryAfter } = await ask(headersOf(i));
      if (status === 429 && !(retryAfter >= 1 && retryAfter <= HOUR))
        throw new Error("429 without Retry-After");
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: CROWD }, guess));
  await middle;
  const checked = doors.log.filter(({ message }) => message.startsWith("credentials were refused")).length;
  return { counts, checked };
}

describe("10,000 wrong passwords from one address", { timeout: 120_000 }, () => {
  it("cost no more checks than may fail, and lock out nobody else", async () => {
    await serve({
      failuresPerAddress: { max: 200, seconds: HOUR },
      failuresPerAddressAndUser: { max: 20, seconds: HOUR },
    });
    const { id, token, hash } = createAccessToken();
    await store.addToken({ id, user: "ada", hash, label: "", expiresAt: undefined, grant: undefined });
    const innocents = async (): Promise<void> => {
      // Elsewhere: the very users that are guessed at.
      expect(await statusOf(right("u0", ELSEWHERE))).toBe(200);
      expect(await statusOf(right("carol", ELSEWHERE))).toBe(200);
      // At the same address: who was in before, and a token.
      expect(await statusOf(right("bob", GUESSER))).toBe(200);
      expect(await statusOf(bearer(token, GUESSER))).toBe(200);
    };
    await innocents();
    const { counts, checked } = await flood(
      10_000,
      (i) => calledFrom(GUESSER, `u${i % 10}`, `guess ${i}`),
      innocents,
    );
    expect([...counts.keys()].toSorted((a, b) => a - b)).toEqual([401, 429]);
    expect((counts.get(401) ?? 0) + (counts.get(429) ?? 0)).toBe(10_000);
    expect(checked).toBeGreaterThanOrEqual(200);
    expect(checked).toBeLessThan(200 + UNDER_WAY);
    expect(counts.get(401)).toBeLessThanOrEqual(checked);
    await innocents();
    // With git, as a person would see it.
    const clone = (address: string, name: string) =>
      workspace.try(...gitHeaders(right("carol", address)), "clone", "-q", `${doors.httpUrl}/app.git`, name);
    expect((await clone(ELSEWHERE, "carol")).status).toBe(0);
    // Who comes to the address of the guesser for the first time, with a password, has to wait.
    expect((await clone(GUESSER, "carol-there")).stderr).toMatch(
      /remote: too many failed attempts to sign in; try again in \d+ seconds/,
    );
    // The guesser has found nothing, and does not learn what would be right.
    expect(await statusOf(right("u3", GUESSER))).toBe(429);
  });

  it("are let in again when the time is over", async () => {
    await serve({ failuresPerAddressAndUser: { max: 3, seconds: 1 } });
    for (let i = 0; i < 3; i++) expect(await statusOf(calledFrom(GUESSER, "u1", `guess ${i}`))).toBe(401);
    await expect.poll(() => statusOf(right("u1", GUESSER)), { timeout: 20_000, interval: 100 }).toBe(200);
  });

  it("are forgotten as little as what was right is believed: a password that has changed is wrong", async () => {
    await serve({ failuresPerAddressAndUser: { max: 2, seconds: HOUR } });
    expect(await statusOf(right("u2", GUESSER))).toBe(200);
    for (let i = 0; i < 3; i++) await ask(calledFrom(GUESSER, "u2", `guess ${i}`));
    expect(await statusOf(right("u2", GUESSER))).toBe(200);
    await store.setPassword("u2", await hashPassword("another", CHEAP));
    expect(await statusOf(right("u2", GUESSER))).toBe(401);
    expect(await statusOf(right("u2", GUESSER))).toBe(429);
    expect(await statusOf(calledFrom(ELSEWHERE, "u2", "another"))).toBe(200);
    await store.setPassword("u2", await hashPassword("right of u2", CHEAP));
  });
});

describe("guesses of an application's own kind, all at once", () => {
  it("are let through one after the other, so that the limit is one", async () => {
    let asked = 0;
    await serve(
      { failuresPerAddressAndUser: { max: 5, seconds: HOUR } },
      {
        database: undefined as never,
        authenticate: async () => {
          asked++;
          await new Promise((resolve) => setTimeout(resolve, 5));
          return undefined;
        },
      },
    );
    const statuses = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => statusOf(calledFrom(GUESSER, "ada", `guess ${i}`))),
    );
    expect(new Set(statuses)).toEqual(new Set([401, 429]));
    expect(asked).toBeLessThan(5 + UNDER_WAY);
    expect(statuses.filter((status) => status === 401)).toHaveLength(asked);
  });

  it("leave room for a crowd that is right", async () => {
    await serve(
      {},
      {
        database: undefined as never,
        authenticate: async (credentials) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          return credentials.kind === "basic" ? { user: credentials.user } : undefined;
        },
      },
    );
    const statuses = await Promise.all(
      Array.from({ length: 200 }, () => statusOf(calledFrom(GUESSER, "ada", "the same"))),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});

describe("10,000 wrong tokens from one address", { timeout: 120_000 }, () => {
  it("are refused, signed or not, and right ones get in, also such as never were there before", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const stranger = generateKeyPairSync("ed25519").privateKey;
    const keyFile = join(workspace.directory, "platform.pem");
    writeFileSync(keyFile, publicKey.export({ type: "spki", format: "pem" }));
    let serial = 0;
    const sign = (key: typeof privateKey, exp = "5m"): Promise<string> =>
      new SignJWT({ repositories: ["**"], operations: ["read", "write"] })
        .setProtectedHeader({ alg: "EdDSA", kid: "platform" })
        .setSubject("build")
        .setAudience("here")
        .setJti(String(++serial))
        .setIssuedAt()
        .setExpirationTime(exp)
        .sign(key);
    await serve(
      {
        failuresPerAddress: { max: 100, seconds: HOUR },
        failuresPerAddressAndUser: { max: 20, seconds: HOUR },
      },
      { signedTokens: { keys: [keyFile], audience: "here" } },
    );
    const wrong = [
      ...(await Promise.all(Array.from({ length: 40 }, () => sign(stranger)))),
      await sign(privateKey, "-1h"),
      (await sign(privateKey)).slice(0, -2),
      ...Array.from({ length: 40 }, () => createAccessToken().token),
      "gitwharf_",
      "gitwharf_0000000000000000000000000000000000000000",
      "eyJ..",
      "nonsense",
    ];
    const { counts } = await flood(
      10_000,
      (i) => {
        const token = wrong[i % wrong.length] ?? "";
        return i % 3 === 0 ? calledFrom(GUESSER, `x${i % 7}`, token) : bearer(token, GUESSER);
      },
      async () => {
        expect(await statusOf(bearer(await sign(privateKey), GUESSER))).toBe(200);
        expect(await statusOf(bearer(await sign(privateKey), ELSEWHERE))).toBe(200);
      },
    );
    expect([...counts.keys()].toSorted((a, b) => a - b)).toEqual([401, 429]);
    expect(counts.get(401)).toBeLessThan(100 + 2 * UNDER_WAY);
    // After it all: a job that brings a token of its own.
    expect(await statusOf(bearer(await sign(privateKey), GUESSER))).toBe(200);
    expect(await statusOf(right("carol", GUESSER))).toBe(429);
    expect(await statusOf(right("carol", ELSEWHERE))).toBe(200);
  });
});
