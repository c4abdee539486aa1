/** What `gitwharf explain` does: puts the rules together as a server would, and follows one request through them. */
import { existsSync } from "node:fs";
import { explain, type Explanation } from "../access/policies/policy.js";
import {
  isPolicyFunction,
  POLICY_OPERATIONS,
  type PolicyEntry,
  type PolicyOperation,
} from "../access/policies/policy-rule.js";
import { GitwharfError } from "../base/errors.js";
import { parseDatabaseLocation } from "../database/open-database.js";
import type { RefAction } from "../engine/identity.js";
import { checkRefName } from "../object/ref-name.js";
import { gitoriousPolicies } from "../server/gitorious.js";
import type { GitServerOptions } from "../server/git-server-options.js";
import { policyEntriesOf, PUBLIC_REPOSITORIES } from "../server/server-policies.js";
import { parseRepositoryName } from "../storage/contracts/repository-name.js";
import { type DatabaseFlags, defaultDatabase, withAccessStore } from "./access-database.js";
import { readConfiguration } from "./serve-command.js";

export interface ExplainFlags extends DatabaseFlags {
  readonly config?: string;
  readonly action?: RefAction;
}

export async function explainRequest(
  user: string,
  operation: string,
  repository: string,
  ref: string | undefined,
  flags: ExplainFlags,
): Promise<void> {
  if (!isOperation(operation)) throw wrong(`'${operation}' is none of ${POLICY_OPERATIONS.join(", ")}`);
  if (ref !== undefined && (!ref.startsWith("refs/") || checkRefName(ref) !== undefined))
    throw wrong(`'${ref}' is not a full ref name; write refs/heads/NAME or refs/tags/NAME`);
  const configuration = withApplications(
    flags.config === undefined ? {} : await readConfiguration(flags.config),
  );
  const name = parseRepositoryName(repository);
  const entries = await entriesFor(name, configuration, flags);
  const asked = {
    user: user === "@anonymous" ? undefined : user,
    repository: name,
    operation,
    ...(ref === undefined ? {} : { ref }),
    ...(flags.action === undefined ? {} : { action: flags.action }),
  };
  const asksCode = configuration.authorize !== undefined;
  const { outcome, rules } =
    entries.length === 0 && !asksCode ? withoutRules(asked.user) : explain(entries, asked);
  const isAsked = outcome === "denied" && asksCode;
  const told = isAsked && !rules.some(({ verdict }) => verdict === "denies") ? undefined : outcome;
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ outcome: told ?? "depends", rules })}\n`);
  else {
    for (const { rule, verdict } of rules) process.stdout.write(`  ${rule} ${verdict}\n`);
    process.stdout.write(`${told ?? "it depends on what is pushed, or on code"}${decidedBy(rules, told)}\n`);
  }
  if (told === "denied") process.exitCode = 1;
}

/** What an application is asked is as good as code. */
function withApplications(configuration: Partial<GitServerOptions>): Partial<GitServerOptions> {
  const { authorize, remote, gitorious } = configuration;
  const asks = gitorious !== undefined || (remote !== undefined && remote.authorize !== false);
  const asked = authorize ?? (asks ? () => ({ allowed: false as const, reason: "" }) : undefined);
  return {
    ...configuration,
    ...gitoriousPolicies(configuration),
    ...(asked === undefined ? {} : { authorize: asked }),
  };
}

/** As a server has them; what the database says of this repository is looked up now. */
async function entriesFor(
  repository: string,
  configuration: Partial<GitServerOptions>,
  flags: ExplainFlags,
): Promise<readonly PolicyEntry[]> {
  const { repositories } = configuration;
  const directory = typeof repositories === "string" ? repositories : flags.directory;
  const database = flags.database ?? configuration.database ?? defaultDatabase(directory);
  const location = parseDatabaseLocation(database);
  if (location.engine === "sqlite" && !existsSync(location.path)) return policyEntriesOf(configuration);
  const isPublic = await withAccessStore({ directory, database }, (store) => store.isPublic(repository));
  const rule: PolicyEntry = {
    name: PUBLIC_REPOSITORIES,
    effect: "allow",
    operations: ["read"],
    ...(isPublic ? {} : { repositories: [] }),
  };
  return policyEntriesOf(configuration, async () => isPublic).map((entry) =>
    entry.name === PUBLIC_REPOSITORIES && isPolicyFunction(entry) ? rule : entry,
  );
}

function decidedBy(rules: readonly Explanation[], outcome: string | undefined): string {
  if (outcome === undefined) return "";
  const last = rules.at(-1);
  const decides = last?.verdict === "allows" || last?.verdict === "denies";
  return decides ? ` by ${last.rule}` : ": no rule allows it";
}

function withoutRules(user: string | undefined): ReturnType<typeof explain> {
  const verdict = user === undefined ? "denies" : "allows";
  const rule = "the default (who has signed in may do everything; nobody else, once there is a user)";
  return { outcome: user === undefined ? "denied" : "allowed", rules: [{ rule, verdict }] };
}

function isOperation(text: string): text is PolicyOperation {
  return POLICY_OPERATIONS.some((each) => each === text);
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
