/** The commands of the command line. Each is loaded when it is asked for: the files of all others would be read for nothing. */
import type { Command } from "commander";

/** Their names, and what makes them; in the order in which help lists them. */
export const COMMANDS: readonly (readonly [
  names: readonly string[],
  load: () => Promise<readonly Command[]>,
])[] = [
  [["serve"], async () => [(await import("./serve-command.js")).serveCommand()]],
  [["init"], async () => [(await import("./init-command.js")).initCommand()]],
  [["fsck"], async () => [(await import("./fsck-command.js")).fsckCommand()]],
  [["user"], async () => [(await import("./user-command.js")).userCommand()]],
  [["key"], async () => [(await import("./key-command.js")).keyCommand()]],
  [["token"], async () => [(await import("./token-command.js")).tokenCommand()]],
  [["public"], async () => [(await import("./public-command.js")).publicCommand()]],
  [["explain"], async () => [(await import("./explain-command.js")).explainCommand()]],
  [["panic"], async () => [(await import("./panic-command.js")).panicCommand()]],
  [["delivery"], async () => [(await import("./delivery-command.js")).deliveryCommand()]],
  [["webhook"], async () => [(await import("./webhook-command.js")).webhookCommand()]],
  [["audit"], async () => [(await import("./audit-command.js")).auditCommand()]],
  [["maintenance"], async () => [(await import("./maintenance-command.js")).maintenanceCommand()]],
  [["storage"], async () => [(await import("./storage-command.js")).storageCommand()]],
  [["history"], async () => [(await import("./history-command.js")).historyCommand()]],
  [["verify"], async () => [(await import("./verify-command.js")).verifyCommand()]],
  [["fork"], async () => [(await import("./fork-command.js")).forkCommand()]],
  [["rename"], async () => [(await import("./rename-command.js")).renameCommand()]],
  [["restore"], async () => [(await import("./restore-command.js")).restoreCommand()]],
  [["deleted"], async () => [(await import("./deleted-command.js")).deletedCommand()]],
  [["undelete"], async () => [(await import("./undelete-command.js")).undeleteCommand()]],
  [["export"], async () => [(await import("./export-command.js")).exportCommand()]],
  [["import"], async () => [(await import("./import-command.js")).importCommand()]],
  [["hook"], async () => [(await import("./hook-command.js")).hookCommand()]],
  [["ssh-command"], async () => [(await import("./ssh-command.js")).sshCommand()]],
  [["authorized-keys"], async () => [(await import("./authorized-keys-command.js")).authorizedKeysCommand()]],
  [["upload-pack"], async () => [(await import("./upload-pack-command.js")).uploadPackCommand()]],
  [["receive-pack"], async () => [(await import("./receive-pack-command.js")).receivePackCommand()]],
  [["upload-archive"], async () => [(await import("./upload-archive-command.js")).uploadArchiveCommand()]],
  [
    ["apps", "builds", "ps", "scale", "config", "releases", "rollback", "run", "logs"],
    async () => (await import("./app-commands.js")).appCommands(),
  ],
];

/** @param name the first word of the command line. Where it is no command's, all are loaded: for help, and for what is wrong with it */
export async function loadCommands(name: string | undefined): Promise<readonly Command[]> {
  const asked = COMMANDS.filter(([names]) => name !== undefined && names.includes(name));
  const loading = (asked.length === 0 ? COMMANDS : asked).map(([, load]) => load());
  return (await Promise.all(loading)).flat();
}
