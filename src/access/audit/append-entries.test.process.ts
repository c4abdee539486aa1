/** Appends entries to an audit log as a process of its own: FILE NAME COUNT [BYTES of each] [MS to wait for the lock]. Ends with 3 when it could not. */
import { createAuditFile } from "./audit-file.js";

const [, , path = "", name = "", count = "1", bytes = "0", waitMs = "10000"] = process.argv;
const writer = createAuditFile({ path, durability: "none", lockWaitMs: Number(waitMs) });
try {
  for (let i = 0; i < Number(count); i++)
    await writer.append([{ event: "request", user: name, reason: `${i}`.padEnd(Number(bytes), "x") }]);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 3;
}
await writer.close();
