import { expect, it } from "vitest";
import { type CommandResult, formatReport } from "./report-status.js";

const ID = "1".repeat(40);

it("a report of many refs lets others have their turn", async () => {
  const results = Array.from(
    { length: 100_000 },
    (_, i): CommandResult => ({
      command: { name: `refs/heads/topic/number-${i}`, oldOid: "0".repeat(40), newOid: ID },
      refusal: i % 2 === 0 ? undefined : "not\nthis one",
      substitutes: [],
    }),
  );
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const report = (await formatReport(results, undefined, 1)).toString();
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
  expect(report).toContain("ok refs/heads/topic/number-99998\n");
  expect(report.endsWith("ng refs/heads/topic/number-99999 not this one\n0000")).toBe(true);
});
