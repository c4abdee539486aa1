/** A pusher who does not read what his build prints: flow control from the terminal to the program, with the real client. */
import { spawn } from "node:child_process";
import { stat } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDeployStage, type DeployStage } from "./support/deploy-stage.js";

let stage: DeployStage;
beforeEach(async () => {
  stage = await createDeployStage();
});
afterEach(() => stage.close());

describe("a pusher who stops reading", () => {
  it("slows the build, and gets everything once he reads on", async () => {
    await stage.start({ limits: { outputBytesMax: 64 * 2 ** 20 } });
    const lines = 80_000;
    const lineBytes = 340;
    const text = `line %.0f of the output of this build ${"x".repeat(lineBytes - 40)}`;
    await stage.commit({ "gitwharf.yml": `build: seq -f '${text}' ${lines}\n` });
    const client = spawn("git", ["push", stage.url, "main"], {
      cwd: stage.app.directory,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", LANG: "C" },
    });
    const log = async (): Promise<number> => {
      const [build] = await stage.builds();
      return build === undefined ? 0 : (await stat(stage.deploy.state.directories.logOf(build.id))).size;
    };
    // Nobody reads: what was printed stays where it is, far from its end.
    let size = -1;
    let same = 0;
    for (let looks = 0; same < 20 && looks < 1000; looks++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      const now = await log().catch(() => 0);
      same = now === size && now > 0 ? same + 1 : 0;
      size = now;
    }
    expect(same).toBe(20);
    expect(size).toBeLessThan((lines * lineBytes) / 2);
    let read = 0;
    for await (const chunk of client.stderr) read += String(chunk).match(/line \d+ of/g)?.length ?? 0;
    expect(read).toBeGreaterThan(lines * 0.99);
    expect(await stage.releases()).toHaveLength(1);
  });
});
