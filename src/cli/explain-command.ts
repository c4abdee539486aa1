/** `gitwharf explain USER OPERATION REPOSITORY [REF]`: which rule decides, without asking a server. */
import { Command, Option } from "commander";
import { REF_ACTIONS } from "../access/ref-rules.js";
import { withDatabaseOptions } from "./access-database.js";
import type { ExplainFlags } from "./explain-request.js";

export function explainCommand(): Command {
  return withDatabaseOptions(new Command("explain"))
    .description("Tell which rule of the configuration decides. Exits with 1 when it is denied.")
    .argument("<user>", "a user's name, or @anonymous")
    .argument("<operation>", "read, push, create, rename or delete")
    .argument("<repository>")
    .argument("[ref]", "for a push: a full ref name, for instance refs/heads/main")
    .option("--config <file>", "the configuration of the server")
    .addOption(new Option("--action <action>", "what the push does to the ref").choices(REF_ACTIONS))
    .action(
      async (
        user: string,
        operation: string,
        repository: string,
        ref: string | undefined,
        flags: ExplainFlags,
      ) => {
        const { explainRequest } = await import("./explain-request.js");
        await explainRequest(user, operation, repository, ref, flags);
      },
    );
}
