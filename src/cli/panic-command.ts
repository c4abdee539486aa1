/** `gitwharf panic on|off|status`: refuse pushes (and reads) at once, whatever servers run. */
import { join, resolve } from "node:path";
import { Command } from "commander";
import { type PanicState, readPanic, switchPanicOff, switchPanicOn } from "../access/panic-switch.js";
import { auditedChange, type AuditFlags, withAuditOption } from "./audited-change.js";
import { fail } from "./failure.js";
import { printDone } from "./print-list.js";

interface PanicFlags extends AuditFlags {
  readonly file?: string;
  readonly json?: boolean;
}

export function panicCommand(): Command {
  const command = new Command("panic").description(
    "Refuse pushes (and reads) at once and until further notice. Servers that run need no restart.",
  );
  command.addCommand(
    withPanicOptions(new Command("on"))
      .description("Refuse pushes.")
      .option("--reads", "refuse reads as well")
      .option("--message <text>", "what people read")
      .action(async (flags: PanicFlags & { readonly reads?: boolean; readonly message?: string }) => {
        const { reads = false, message } = flags;
        const state = await auditedChange(flags, {
          entry: { event: "panic-on", details: { reads, message } },
          urgent: true,
          make: () => switchPanicOn(fileOf(flags), { reads, message }),
        });
        print(flags, state);
      }),
  );
  command.addCommand(
    withPanicOptions(new Command("off"))
      .description("Take pushes and reads again.")
      .action(async (flags: PanicFlags) => {
        const wasOn = await auditedChange(flags, {
          entry: { event: "panic-off" },
          urgent: true,
          make: () => switchPanicOff(fileOf(flags)),
          refusalOf: (was) => (was ? undefined : "it was off"),
        });
        if (wasOn) print(flags, undefined);
        else fail("the panic switch was off");
      }),
  );
  command.addCommand(
    withPanicOptions(new Command("status"))
      .description("Tell what is refused.")
      .action(async (flags: PanicFlags) => print(flags, await readPanic(fileOf(flags)))),
  );
  return command;
}

function withPanicOptions(command: Command): Command {
  return withAuditOption(command)
    .option("-d, --directory <directory>", "where the repositories are", "./repositories")
    .option(
      "--file <file>",
      "the switch itself (panicFile)  [default: .gitwharf/panic.json in the directory]",
    )
    .option("--json", "print JSON");
}

function fileOf({ file, directory }: PanicFlags): string {
  return resolve(file ?? join(directory, ".gitwharf", "panic.json"));
}

function print(flags: PanicFlags, state: PanicState | undefined): void {
  const what = state?.reads === true ? "pushes and reads are" : "pushes are";
  const text = state === undefined ? "off" : `on: ${what} refused: ${state.message}`;
  printDone(flags, state === undefined ? { on: false } : { on: true, ...state }, text);
}
