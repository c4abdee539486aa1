import { describe, expect, it } from "vitest";
import {
  type AuthenticationAttempt,
  type Authenticator,
  createAuthenticationChain,
} from "./authenticator.js";
import { createCallbackAuthenticator } from "./callback-authenticator.js";

const attempt = (credentials: AuthenticationAttempt["credentials"]): AuthenticationAttempt => ({
  credentials,
  address: "127.0.0.1",
  peerAddress: "127.0.0.1",
  transport: "http",
});
const basic = (user: string, password: string): AuthenticationAttempt =>
  attempt({ kind: "basic", user, password });

const only = (user: string, password: string): Authenticator => ({
  name: user,
  authenticate: ({ credentials }) => {
    if (typeof credentials !== "object" || credentials.kind !== "basic") return undefined;
    if (credentials.user !== user) return undefined;
    return credentials.password === password ? { identity: { user } } : { refused: "wrong password" };
  },
});

const broken: Authenticator = {
  name: "broken",
  authenticate: () => {
    throw new Error("database away");
  },
};

function chain(...authenticators: Authenticator[]): {
  ask: ReturnType<typeof createAuthenticationChain>;
  said: string[];
} {
  const said: string[] = [];
  const ask = createAuthenticationChain({
    authenticators,
    onRefusal: (name, reason) => said.push(`${name}: ${reason}`),
    onFailure: (name, error) => said.push(`${name}: ${String(error)}`),
  });
  return { ask, said };
}

describe("createAuthenticationChain", () => {
  it("takes the first that knows the caller, and leaves who brings nothing anonymous", async () => {
    const { ask } = chain(only("ada", "a"), only("bob", "b"));
    expect(await ask(basic("bob", "b"))).toEqual({ user: "bob" });
    expect(await ask(attempt(undefined))).toEqual({ user: undefined });
  });

  it("refuses wrong credentials at once: no later one may let them in, and they are not anonymous", async () => {
    const lenient: Authenticator = { name: "lenient", authenticate: () => ({ identity: { user: "root" } }) };
    const { ask, said } = chain(only("ada", "a"), lenient);
    await expect(ask(basic("ada", "x"))).rejects.toMatchObject({ code: "access/unauthenticated" });
    expect(said).toEqual(["ada: wrong password"]);
  });

  it.each([
    ["unknown to all", basic("eve", "x")],
    ["malformed", attempt("malformed")],
  ])("refuses credentials that are %s", async (_, tried) => {
    await expect(chain(only("ada", "a")).ask(tried)).rejects.toMatchObject({
      code: "access/unauthenticated",
    });
  });

  it("fails closed, and not as wrong credentials, when one cannot tell", async () => {
    const { ask, said } = chain(broken, only("ada", "a"));
    await expect(ask(basic("ada", "a"))).rejects.toMatchObject({ code: "access/unavailable" });
    expect(said).toEqual(["broken: Error: database away"]);
  });

  it.each<[string, unknown]>([
    ["null", null],
    ["true", true],
    ["a name", "ada"],
    ["nothing that is known", {}],
    ["no identity", { identity: null }],
    ["an identity that is a name", { identity: "ada" }],
    ["a user that is none", { identity: { user: 7 } }],
    ["a refusal without a reason", { refused: true }],
    ["a list", []],
  ])("lets nobody in when one answers %s", async (_, answer) => {
    const odd: Authenticator = { name: "odd", authenticate: () => answer as undefined };
    const { ask } = chain(odd, only("ada", "a"));
    await expect(ask(basic("ada", "a"))).rejects.toMatchObject({ code: "access/unavailable" });
  });

  it("takes null of a callback for a refusal, and what is no identity for no answer", async () => {
    const of = (answer: unknown) => chain(createCallbackAuthenticator(() => answer as undefined)).ask;
    await expect(of(null)(basic("ada", "a"))).rejects.toMatchObject({ code: "access/unauthenticated" });
    await expect(of(undefined)(basic("ada", "a"))).rejects.toMatchObject({ code: "access/unauthenticated" });
    await expect(of("ada")(basic("ada", "a"))).rejects.toMatchObject({ code: "access/unavailable" });
    expect(await of({ user: "ada" })(basic("ada", "a"))).toEqual({ user: "ada" });
  });
});
