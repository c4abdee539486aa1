import { describe, expect, it } from "vitest";
import type { AuthorizationRequest, Authorize } from "../engine/authorization.js";
import { createAuthorizationPoint } from "./authorization-point.js";

const request: AuthorizationRequest = {
  identity: { user: undefined },
  repository: "app",
  operation: "fetch",
  address: undefined,
  transport: "http",
};

describe("createAuthorizationPoint", () => {
  it("fails closed when the callback throws, and says so once", async () => {
    const failures: unknown[] = [];
    const authorize = createAuthorizationPoint({
      authorize: () => {
        throw new Error("database away");
      },
      isOpen: () => false,
      onFailure: (error) => failures.push(error),
    });
    expect(await authorize(request)).toMatchObject({ allowed: false });
    expect(failures).toHaveLength(1);
  });

  it("opens for `allowed: true` only, whatever a callback answers", async () => {
    for (const answer of [undefined, null, true, {}, { allowed: "yes" }]) {
      const authorize = createAuthorizationPoint({
        authorize: (() => answer) as Authorize,
        isOpen: () => false,
        onFailure: () => undefined,
      });
      expect(await authorize(request)).toMatchObject({ allowed: false });
    }
  });

  it("challenges the anonymous as soon as someone can sign in", async () => {
    const authorize = createAuthorizationPoint({
      authorize: undefined,
      isOpen: () => false,
      onFailure: () => undefined,
    });
    expect(await authorize(request)).toMatchObject({ allowed: false, answer: "challenge" });
    expect(await authorize({ ...request, identity: { user: "ada" } })).toEqual({ allowed: true });
  });
});
