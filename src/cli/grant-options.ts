/** What a key or a token is for, as options of the command line. */
import { type Command, InvalidArgumentError } from "commander";
import { REF_ACTIONS } from "../access/ref-rules.js";
import type { Grant, RefAction, RefRule } from "../engine/identity.js";

export interface GrantFlags {
  readonly readOnly?: boolean;
  readonly repository: readonly string[];
  readonly ref: readonly RefRule[];
}

export function withGrantOptions(command: Command): Command {
  return command
    .option("--read-only", "for fetching, not for pushing")
    .option(
      "--repository <pattern>",
      "only for these repositories, for instance group/*; may be repeated",
      append,
      [],
    )
    .option(
      "--ref <rule>",
      "allow:PATTERN, deny:PATTERN or allow:create,update:PATTERN; the first that matches decides, what none matches " +
        "may not be pushed; may be repeated",
      (text: string, before: readonly RefRule[]) => [...before, parseRefRule(text)],
      [],
    );
}

/** undefined: all that the user may. */
export function grantOf(flags: GrantFlags): Grant | undefined {
  const grant: Grant = {
    ...(flags.readOnly === true ? { operations: ["read"] as const } : {}),
    ...(flags.repository.length > 0 ? { repositories: flags.repository } : {}),
    ...(flags.ref.length > 0 ? { refs: flags.ref } : {}),
  };
  return Object.keys(grant).length === 0 ? undefined : grant;
}

function append(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

function parseRefRule(text: string): RefRule {
  const match = /^(allow|deny):(?:([a-z,]+):)?([^:]+)$/.exec(text);
  const effect = match?.[1];
  const pattern = match?.[3];
  if ((effect !== "allow" && effect !== "deny") || pattern === undefined)
    throw new InvalidArgumentError(
      "write allow:refs/heads/*, deny:refs/heads/main or allow:create,update:refs/tags/**",
    );
  const actions = match?.[2]?.split(",");
  if (actions === undefined) return { effect, refs: [pattern] };
  return { effect, refs: [pattern], actions: actions.map(parseAction) };
}

function parseAction(text: string): RefAction {
  const action = REF_ACTIONS.find((known) => known === text);
  if (action === undefined) throw new InvalidArgumentError(`'${text}' is none of ${REF_ACTIONS.join(", ")}`);
  return action;
}
