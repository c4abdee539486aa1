/**
 * Where one build happens: a copy of the source, the app's cache, a directory with its variables, as the programs of the
 * build see them. Each builder makes its own.
 */
import { execFile } from "node:child_process";
import { chmod, mkdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { MaybePromise } from "../../base/maybe-promise.js";
import type { AppConfig } from "../../database/app-store.js";
import { giveTree } from "../executors/give-tree.js";
import { removeTree } from "../state/deploy-directories.js";
import type { ExecutionEnd, ExecutionLimits, Executor, Mount } from "../executors/executor.js";

export interface BuildPlace {
  /** As the server sees it. */
  readonly directory: string;
  /** Where a fetched buildpack goes. */
  readonly buildpackDirectory: string;
  run(program: BuildProgram): Promise<ExecutionEnd>;
  /** Gives files to whom programs run as. */
  handOver(directory: string): Promise<void>;
}

export interface BuildProgram {
  readonly command: (at: PlacesInside) => readonly [string, ...string[]];
  /** Directory of the buildpack; it is seen read-only. */
  readonly buildpack?: string;
  readonly print: (bytes: Uint8Array) => MaybePromise<void>;
  readonly signal: AbortSignal;
  /** Narrower than the build's; where they are wider, the build's hold. */
  readonly limits?: Partial<Pick<ExecutionLimits, "timeoutMs" | "outputBytesMax">>;
  /** Beside what every program gets. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly network?: boolean;
}

export interface PlacesInside {
  readonly build: string;
  readonly cache: string;
  readonly env: string;
  readonly buildpack: string;
}

export interface BuildPlaceOptions {
  /** Of the build. */
  readonly id: string;
  readonly commit: string;
  readonly app: string;
  readonly source: string;
  readonly work: string;
  readonly cache: string;
  readonly config: AppConfig;
  readonly executor: Executor;
  readonly limits: ExecutionLimits;
  readonly stack: string;
  readonly path: string;
}

const OTHERS_READ = 0o755;
/** Others may go through, and see nothing. */
const PASSABLE = 0o711;

export async function openBuildPlace(options: BuildPlaceOptions): Promise<BuildPlace> {
  const { id, source, work, cache, config, executor, limits } = options;
  const directory = join(work, "build");
  const env = join(work, "env");
  const home = join(work, "home");
  const buildpackDirectory = join(work, "buildpack");
  const handOver = async (path: string): Promise<void> => {
    if (executor.user !== undefined) await giveTree(path, executor.user);
  };

  // What a builder that died has left.
  await removeTree(work);
  await mkdir(work, { recursive: true });
  await chmod(work, OTHERS_READ);
  await chmod(dirname(work), PASSABLE);
  await chmod(source, 0o700);
  // Names are bytes, which Node's own copying does not know.
  await promisify(execFile)("cp", ["-a", "--", source, directory]);
  await mkdir(env, { mode: 0o700 });
  for (const [name, value] of Object.entries(config))
    await writeFile(join(env, name), value, { mode: 0o600 });
  await mkdir(cache, { recursive: true, mode: 0o700 });
  await chmod(dirname(cache), PASSABLE);
  await mkdir(home, { mode: 0o700 });
  for (const path of [directory, env, home]) await handOver(path);
  // What earlier builds left in it belongs to whom it should.
  if ((await stat(cache)).uid !== executor.user?.uid) await handOver(cache);

  const mountOf = (path: string, target: string, isWritable: boolean): Mount => ({
    source: path,
    target,
    isWritable,
  });
  const build = mountOf(directory, "/tmp/build", true);
  const mounts = [
    build,
    mountOf(cache, "/tmp/cache", true),
    mountOf(env, "/tmp/env", false),
    mountOf(home, "/app", true),
  ];
  return {
    directory,
    buildpackDirectory,
    handOver,
    run(program) {
      const buildpack = mountOf(program.buildpack ?? buildpackDirectory, "/tmp/buildpack", false);
      const at = (mount: Mount): string => executor.placeOf(mount);
      const [, cacheMount, envMount, homeMount] = mounts as [Mount, Mount, Mount, Mount];
      return executor.run({
        name: `build-${id}`,
        command: program.command({
          build: at(build),
          cache: at(cacheMount),
          env: at(envMount),
          buildpack: at(buildpack),
        }),
        directory: at(build),
        environment: {
          PATH: options.path,
          HOME: at(homeMount),
          LANG: "C.UTF-8",
          STACK: options.stack,
          SOURCE_VERSION: options.commit,
          REQUEST_ID: id,
          GITWHARF_APP: options.app,
          CACHE_DIR: at(cacheMount),
          ...program.environment,
        },
        mounts: program.buildpack === undefined ? mounts : [...mounts, buildpack],
        network: program.network ?? false,
        limits: narrower(limits, program.limits),
        print: program.print,
        signal: program.signal,
      });
    },
  };
}

function narrower(limits: ExecutionLimits, own: BuildProgram["limits"] = {}): ExecutionLimits {
  const { timeoutMs = Infinity, outputBytesMax = Infinity } = own;
  return {
    ...limits,
    timeoutMs: Math.min(timeoutMs, limits.timeoutMs),
    outputBytesMax: Math.min(outputBytesMax, limits.outputBytesMax),
  };
}
