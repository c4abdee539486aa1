/** What a container program is told: by one of ours in its place, which writes down how it was called. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createContainerExecutor, type Execution } from "../src/index.js";
import { executionName } from "../src/deploy/executors/execution-names.js";
import { DEFAULT_EXECUTION_LIMITS } from "../src/deploy/executors/executor.js";

let directory: string;
let program: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
  program = join(directory, "podman");
  // `run` writes down what it is told and goes on until it is killed, if it is to; `kill` ends it, `ps` lists what stands in a file.
  writeFileSync(
    program,
    [
      "#!/bin/sh",
      'here=$(dirname "$0"); verb=$1',
      'printf "%s\\n" "$@" >> "$here/$verb.args"; env > "$here/$verb.env"',
      'if [ "$verb" = run ]; then',
      '  for each in "$@"; do case $each in --env-file=*) cat "${each#--env-file=}" > "$here/variables"; cat "$(dirname "${each#--env-file=}")/script" > "$here/script";; esac; done',
      '  echo $$ > "$here/pid"; echo begun',
      '  case "$*" in *forever*) exec sleep 1000;; *broken*) exit 125;; esac',
      "  exit 4",
      "fi",
      'if [ "$verb" = ps ] && [ -e "$here/names" ]; then cat "$here/names"; fi',
      'if [ "$verb" = kill ] && [ -e "$here/pid" ]; then kill -9 "$(cat "$here/pid")" 2>/dev/null; fi',
      "exit 0",
      "",
    ].join("\n"),
  );
  chmodSync(program, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));

const lines = (name: string): readonly string[] =>
  readFileSync(join(directory, name), "utf8").trim().split("\n");

function execution(more: Partial<Execution> = {}): Execution {
  return {
    name: "build-1",
    command: ["/bin/sh", "-c", "echo hello"],
    directory: "/tmp/build",
    environment: { PATH: "/usr/bin", SECRET: "hidden word", LINES: "one\ntwo", LD_PRELOAD: "/evil.so" },
    mounts: [
      { source: "/srv/build", target: "/tmp/build", isWritable: false },
      { source: directory, target: "/tmp/cache", isWritable: true },
    ],
    network: false,
    limits: { ...DEFAULT_EXECUTION_LIMITS, killAfterMs: 200 },
    print: () => undefined,
    signal: new AbortController().signal,
    ...more,
  };
}

describe("a container", () => {
  it("is bounded, has no network, and writes to its mounts only", async () => {
    const executor = createContainerExecutor({
      image: "some/image",
      program,
      user: { uid: 1234, gid: 5678 },
    });
    await executor.check();
    expect(await executor.run(execution())).toEqual({ status: 4 });
    const args = lines("run.args");
    for (const expected of [
      "--rm",
      "--read-only",
      "--cap-drop=ALL",
      "--security-opt=no-new-privileges",
      "--network=none",
      "--user=1234:5678",
      "--memory=2147483648",
      "--pids-limit=1024",
      "type=bind,source=/srv/build,target=/tmp/build,readonly",
      `type=bind,source=${directory},target=/tmp/cache`,
      "--workdir=/tmp/build",
    ])
      expect(args).toContain(expected);
    expect(args).toContain("some/image");
    expect(args.slice(-3)).toEqual(["/bin/sh", "-c", "echo hello"]);
    expect(executor.placeOf({ source: "/a", target: "/b", isWritable: true })).toBe("/b");
  });

  it("has its variables from a file that is gone afterwards, and the program has none of them", async () => {
    await createContainerExecutor({ image: "x", program }).run(execution());
    const args = lines("run.args");
    expect(args.join("\n")).not.toMatch(/hidden word|\btwo\b/);
    expect(lines("variables")).toEqual(["PATH=/usr/bin", "SECRET=hidden word", "LD_PRELOAD=/evil.so"]);
    expect(lines("run.env").some((line) => /^(?:SECRET|LD_PRELOAD)=/.test(line))).toBe(false);
    expect(lines("script")).toEqual(["export LINES='one", "two'"]);
    const file = args.find((arg) => arg.startsWith("--env-file="))?.slice("--env-file=".length) ?? "";
    expect(existsSync(file)).toBe(false);
  });

  it("has the network when it is given", async () => {
    await createContainerExecutor({ image: "x", program }).run(execution({ network: true }));
    expect(lines("run.args")).toContain("--network=host");
  });

  it("is ended by its name: asked first, then removed", async () => {
    const wanted = new AbortController();
    const end = await createContainerExecutor({ image: "x", program }).run(
      execution({
        command: ["forever"],
        signal: wanted.signal,
        print: () => wanted.abort("nobody wants it"),
      }),
    );
    expect(end).toEqual({ status: undefined, ended: "nobody wants it" });
    const name = lines("run.args")[lines("run.args").indexOf("--name") + 1];
    // All of them, not the first one only.
    expect(lines("exec.args")).toEqual(["exec", name, "/bin/sh", "-c", "kill -TERM -1"]);
    expect(lines("rm.args").slice(0, 3)).toEqual(["rm", "--force", name]);
  });

  it("of a server that was killed is removed by the next one", async () => {
    const living = executionName("build-1");
    const space = /^gitwharf-(\d+)\./.exec(living)?.[1] ?? "";
    const dead = `gitwharf-${space}.${process.pid}.1-build-2-12345678`;
    writeFileSync(
      join(directory, "names"),
      [living, dead, `gitwharf-1.${process.pid}.1-build-3-12345678`, "gitwharf-mine", "else", ""].join("\n"),
    );
    const variablesOf = (name: string): string => mkdtempSync(join(tmpdir(), `${name}-`));
    const kept = variablesOf(living);
    const left = variablesOf(dead);
    await createContainerExecutor({ image: "x", program }).tidy();
    expect(lines("rm.args")).toEqual(["rm", "--force", dead]);
    expect([kept, left].map((path) => existsSync(path))).toEqual([true, false]);
    rmSync(kept, { recursive: true });
  });

  it("whose program waits for something else is ended, too", async () => {
    writeFileSync(program, '#!/bin/sh\nif [ "$1" = run ]; then exec sleep 1000; fi\nexit 1\n');
    const end = await createContainerExecutor({ image: "x", program }).run(
      execution({ limits: { ...DEFAULT_EXECUTION_LIMITS, timeoutMs: 200, killAfterMs: 100 } }),
    );
    expect(end).toEqual({ status: undefined, ended: "it ran for more than 0.2 seconds" });
  });

  it("that cannot be started is told from a program that failed", async () => {
    const end = await createContainerExecutor({ image: "broken", program }).run(execution());
    expect(end.ended).toMatch(/^the container could not be started/);
    await expect(
      createContainerExecutor({ image: "x", program: join(directory, "absent") }).check(),
    ).rejects.toThrow(/containers cannot be used/);
  });
});
