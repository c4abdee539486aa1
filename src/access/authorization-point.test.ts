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

  it("fails closed when no answer comes in time, of whoever is asked", async () => {
    const never = new Promise<never>(() => undefined);
    const yes: Authorize = () => ({ allowed: true });
    for (const asked of [
      { authorize: () => never, isOpen: () => false },
      { authorize: yes, isOpen: () => never },
      { authorize: yes, isOpen: () => false, isCurrent: () => never },
    ]) {
      const failures: unknown[] = [];
      const onFailure = (error: unknown): void => void failures.push(error);
      const authorize = createAuthorizationPoint({ ...asked, timeoutMs: 20, onFailure });
      expect(await authorize({ ...request, transport: "ssh" })).toMatchObject({ allowed: false });
      expect(String(failures)).toContain("authorization gave no answer within 20 ms");
    }
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
