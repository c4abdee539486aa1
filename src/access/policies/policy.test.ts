import { describe, expect, it } from "vitest";
import { explain } from "./policy.js";
import type { PolicyEntry } from "./policy-rule.js";

const RULES: readonly PolicyEntry[] = [
  { name: "kept", effect: "deny", refs: ["refs/heads/main"], actions: ["force", "delete"] },
  { name: "own", effect: "allow", users: ["ada"], refs: ["refs/heads/ada/*"] },
  { name: "docs", effect: "allow", users: ["bob"], paths: ["docs/**"] },
  { name: "read", effect: "allow", users: ["@users"], operations: ["read"] },
];

const ask = (user: string | undefined, operation: "read" | "push" | "create", more: object = {}) => {
  const { outcome, rules } = explain(RULES, { user, operation, repository: "app", ...more });
  return `${outcome}: ${rules.map(({ rule, verdict }) => `${rule} ${verdict}`).join(", ")}`;
};

describe("explain", () => {
  it.each([
    [
      "ada reads",
      ask("ada", "read"),
      "allowed: kept does not match, own does not match, docs does not match, read allows",
    ],
    ["the anonymous reads", ask(undefined, "read"), /^denied: .*read does not match$/],
    [
      "ada forces main",
      ask("ada", "push", { ref: "refs/heads/main", action: "force" }),
      "denied: kept denies",
    ],
    ["ada pushes main somehow", ask("ada", "push", { ref: "refs/heads/main" }), /^denied: kept may deny, /],
    [
      "ada creates her own",
      ask("ada", "push", { ref: "refs/heads/ada/x", action: "create" }),
      "allowed: kept does not match, own allows",
    ],
    [
      "bob pushes paths",
      ask("bob", "push", { ref: "refs/heads/x", action: "update" }),
      /^undefined: .*docs may allow/,
    ],
    ["bob pushes somewhere", ask("bob", "push"), /^undefined: kept may deny, .*docs may allow/],
    ["eve makes one", ask("eve", "create"), /^denied: /],
  ])("%s", (_, told, expected) => {
    if (typeof expected === "string") expect(told).toBe(expected);
    else expect(told).toMatch(expected);
  });
});
