import { describe, expect, it } from "vitest";
import type { AuthorizationRequest } from "../engine/authorization.js";
import type { Grant } from "../engine/identity.js";
import { checkAgainstGrant, checkRefAgainstGrant, parseGrant } from "./grant.js";

const NULL = "0".repeat(40);
const ONE = "1".repeat(40);
const TWO = "2".repeat(40);
const NOW = 1_000_000;

const ask = (grant: Grant, request: Partial<AuthorizationRequest> = {}): unknown =>
  checkAgainstGrant(
    {
      identity: { user: "ada", method: "token", grant },
      repository: "group/app",
      operation: "push",
      address: undefined,
      transport: "http",
      ...request,
    },
    NOW,
  );
const command = (name: string, oldOid: string, newOid: string) => ({ commands: [{ name, oldOid, newOid }] });

describe("a grant", () => {
  it("narrows what it names and nothing else", () => {
    expect(ask({})).toBeUndefined();
    expect(ask({ operations: ["write"], repositories: ["group/*"], expiresAt: NOW + 1 })).toBeUndefined();
    expect(ask({ operations: ["read"] })).toMatchObject({ allowed: false });
    expect(ask({ operations: ["read"] }, { operation: "create" })).toMatchObject({ allowed: false });
    expect(ask({ operations: ["read"] }, { operation: "archive" })).toBeUndefined();
    expect(ask({ operations: ["write"] }, { operation: "fetch" })).toMatchObject({ allowed: false });
    expect(ask({ repositories: ["group"] })).toMatchObject({ answer: "hide" });
    expect(ask({ repositories: ["**"] })).toBeUndefined();
    expect(ask({ expiresAt: NOW })).toMatchObject({ answer: "challenge" });
  });

  it("takes the first ref rule that matches, and refuses what none matches", () => {
    const refs: Grant["refs"] = [
      { effect: "deny", refs: ["refs/heads/ci/locked"] },
      { effect: "allow", refs: ["refs/heads/ci/*"], actions: ["create", "update"] },
    ];
    const push = (name: string, oldOid: string, newOid: string): unknown =>
      ask({ refs }, command(name, oldOid, newOid));
    expect(push("refs/heads/ci/a", NULL, ONE)).toBeUndefined();
    // An update, or a forced one: that is told once the objects are there.
    expect(push("refs/heads/ci/a", ONE, TWO)).toBeUndefined();
    expect(push("refs/heads/ci/a", ONE, NULL)).toMatchObject({ allowed: false });
    expect(push("refs/heads/ci/locked", NULL, ONE)).toMatchObject({ allowed: false });
    expect(push("refs/heads/main", ONE, TWO)).toMatchObject({ allowed: false });
    const identity = { user: "ada", grant: { refs } };
    expect(checkRefAgainstGrant(identity, "refs/heads/ci/a", "update")).toBeUndefined();
    expect(checkRefAgainstGrant(identity, "refs/heads/ci/a", "force")).toMatch(
      /force-update refs\/heads\/ci\/a/,
    );
  });

  it.each([
    "",
    "[]",
    "{",
    '{"operation":["read"]}',
    '{"operations":"read"}',
    '{"operations":["admin"]}',
    '{"repositories":[1]}',
    '{"repositories":[""]}',
    '{"refs":{}}',
    '{"refs":[{"effect":"allow"}]}',
    '{"refs":[{"effect":"allow","refs":["*"],"action":["create"]}]}',
    '{"refs":[{"effect":"allow","refs":["*"],"actions":["push"]}]}',
    '{"expiresAt":"tomorrow"}',
  ])("that cannot be read is not taken for one that allows everything: %s", (text) => {
    expect(() => parseGrant(text, "a token")).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });
});
