/**
 * One build, from the pushed files to a slug: which way to build, the build itself, what it wants to run, the archive.
 * Specification: docs/deploy.md; Heroku, "Buildpack API".
 */
import { lstat, stat } from "node:fs/promises";
import { join } from "node:path";
import { isGitwharfError } from "../../base/errors.js";
import type { App, AppConfig } from "../../database/app-store.js";
import type { BuildProduct } from "../../database/build-store.js";
import { describeEnd } from "../executors/executor.js";
import { compile, detect, release } from "./buildpack.js";
import type { BuildpackSources } from "./buildpack-source.js";
import { BuildFailure } from "./build-failure.js";
import type { BuildOutput } from "./build-output.js";
import type { BuildPlace, BuildProgram } from "./build-place.js";
import { type BuildSettings, parseBuildSettings, SETTINGS_FILE } from "./build-settings.js";
import { parseProcfile, type ProcessTypes } from "./procfile.js";
import { readBuildFile } from "./read-build-file.js";
import { parseSlugIgnore, SLUG_IGNORE_BYTES_MAX } from "./slug-ignore.js";
import { formatSize, writeSlug } from "./write-slug.js";

export interface BuildJob {
  readonly app: App;
  /** As they were when it began. */
  readonly config: AppConfig;
  readonly place: BuildPlace;
  readonly output: BuildOutput;
  /** Where the slug goes. */
  readonly slug: string;
  readonly buildpacks: BuildpackSources;
  /** "when-asked": `network: true` in gitwharf.yml gets it. */
  readonly network: boolean | "when-asked";
  readonly signal: AbortSignal;
}

/** What a way to build comes to, before the slug. */
interface Built {
  readonly framework: string;
  readonly processTypes: ProcessTypes;
  readonly config: AppConfig;
}

/** @throws BuildFailure, and what is the server's fault */
export async function buildApp(job: BuildJob): Promise<BuildProduct> {
  try {
    const settings = await readSettings(job);
    const built = await buildSomehow(job, settings);
    const processTypes = await discoverProcessTypes(job, built);
    return { ...(await compress(job)), framework: built.framework, processTypes, config: built.config };
  } catch (error) {
    // What was pushed cannot be read: the pusher is told.
    if (isGitwharfError(error, "object/malformed")) throw new BuildFailure(error.message);
    throw error;
  }
}

async function readSettings({ place }: BuildJob): Promise<BuildSettings | undefined> {
  const text = await readBuildFile(place.directory, SETTINGS_FILE);
  return text === undefined ? undefined : parseBuildSettings(text);
}

async function buildSomehow(job: BuildJob, settings: BuildSettings | undefined): Promise<Built> {
  const { output, buildpacks, config, place, signal } = job;
  const wanted = config["BUILDPACK_URL"] || settings?.buildpack;
  const network = await networkOf(job, settings);
  if (wanted !== undefined) {
    const found = buildpacks.resolve(wanted);
    await output.heading(`Using buildpack: ${wanted}`);
    let { directory } = "directory" in found ? found : { directory: "" };
    if (!("directory" in found)) {
      directory = place.buildpackDirectory;
      await buildpacks.fetch(found, directory, signal);
      await place.handOver(directory);
    }
    const framework = await detect(place, directory, signal);
    if (framework === undefined) throw new BuildFailure(`the buildpack ${wanted} is not for what was pushed`);
    return buildByPack(job, settings, directory, framework, network);
  }
  if (settings !== undefined && (settings.commands.length > 0 || settings.staticDirectory !== undefined))
    return buildBySettings(job, settings, network);
  for (const { name, directory } of buildpacks.named) {
    const framework = await detect(place, directory, signal);
    if (framework === undefined) continue;
    await output.heading(`Using buildpack: ${name}`);
    return buildByPack(job, settings, directory, framework, network);
  }
  if (settings !== undefined && Object.keys(settings.processTypes).length > 0)
    return buildBySettings(job, settings, network);
  if ((await readBuildFile(place.directory, "Procfile")) !== undefined) {
    await output.heading("Procfile found, nothing to build");
    return { framework: "Procfile", processTypes: {}, config: {} };
  }
  if (await isFile(join(place.directory, "index.html"))) {
    await output.heading("Static site detected");
    return { framework: "Static site", processTypes: { static: "." }, config: {} };
  }
  throw new BuildFailure(
    `no way to build this was found: there is no ${SETTINGS_FILE}, no Procfile, no index.html` +
      (buildpacks.named.length === 0 ? "" : ", and no buildpack takes it"),
  );
}

async function networkOf(job: BuildJob, settings: BuildSettings | undefined): Promise<boolean> {
  if (typeof job.network === "boolean") {
    if (settings?.network === true && !job.network)
      await job.output.warning(`${SETTINGS_FILE} asks for the network, which builds do not have here`);
    return job.network;
  }
  return settings?.network === true;
}

async function buildByPack(
  job: BuildJob,
  settings: BuildSettings | undefined,
  buildpack: string,
  framework: string,
  network: boolean,
): Promise<Built> {
  const { output, signal } = job;
  if (framework !== "") await output.heading(`${framework} app detected`);
  const place: BuildPlace = { ...job.place, run: (program) => job.place.run({ network, ...program }) };
  const begun = performance.now();
  await compile(place, buildpack, output, signal);
  await succeeded(output, begun);
  const hasRelease = await isFile(join(buildpack, "bin/release"));
  const said = hasRelease
    ? await release(place, buildpack, signal)
    : { processTypes: {}, config: {}, addons: [] };
  if (said.addons.length > 0) await output.warning(`there are no addons here: ${said.addons.join(", ")}`);
  return {
    framework,
    processTypes: { ...said.processTypes, ...settings?.processTypes },
    config: said.config,
  };
}

async function buildBySettings(job: BuildJob, settings: BuildSettings, network: boolean): Promise<Built> {
  const { output, place, config, signal } = job;
  const begun = performance.now();
  for (const command of settings.commands) {
    await output.heading(`Running ${command.trim().replaceAll("\n", "; ")}`);
    const lines = output.indented();
    const program: BuildProgram = {
      command: () => ["/bin/sh", "-e", "-c", command],
      environment: config,
      network,
      print: lines.write,
      signal,
    };
    const end = await place.run(program);
    await lines.end();
    const wrong = describeEnd(end);
    if (wrong !== undefined) throw new BuildFailure(`the build command failed: ${wrong}`);
  }
  if (settings.commands.length > 0) await succeeded(output, begun);
  const { staticDirectory } = settings;
  if (staticDirectory === undefined)
    return { framework: SETTINGS_FILE, processTypes: settings.processTypes, config: {} };
  if (!(await isDirectory(place.directory, staticDirectory)))
    throw new BuildFailure(`there is no directory ${staticDirectory} to serve, now that it is built`);
  return {
    framework: "Static site",
    processTypes: { ...settings.processTypes, static: staticDirectory },
    config: {},
  };
}

async function succeeded(output: BuildOutput, begun: number): Promise<void> {
  await output.heading(`Build succeeded in ${((performance.now() - begun) / 1000).toFixed(1)}s`);
}

/** The Procfile's word counts before the buildpack's. */
async function discoverProcessTypes({ place, output }: BuildJob, built: Built): Promise<ProcessTypes> {
  const text = await readBuildFile(place.directory, "Procfile");
  const declared = text === undefined ? {} : parseProcfile(text);
  const types = { ...built.processTypes, ...declared };
  await output.heading("Discovering process types");
  const list = (names: readonly string[]): string => (names.length === 0 ? "(none)" : names.join(", "));
  if (text !== undefined)
    await output.detail(`Procfile declares types     -> ${list(Object.keys(declared))}`);
  const defaults = Object.keys(built.processTypes).filter((name) => !Object.hasOwn(declared, name));
  if (defaults.length > 0 || text === undefined)
    await output.detail(`Default types for ${built.framework || "buildpack"} -> ${list(defaults)}`);
  if (Object.keys(types).length === 0)
    await output.warning("there is nothing to run: name a process in a Procfile (web: COMMAND)");
  return types;
}

async function compress(job: BuildJob): Promise<Pick<BuildProduct, "slugPath" | "slugBytes">> {
  const { place, output, slug, signal } = job;
  await output.heading("Compressing...");
  const ignored = await readBuildFile(place.directory, ".slugignore", SLUG_IGNORE_BYTES_MAX);
  const slugBytes = await writeSlug({
    directory: place.directory,
    slug,
    isIgnored: parseSlugIgnore(ignored ?? ""),
    signal,
  });
  await output.detail(`Done: ${formatSize(slugBytes)}`);
  return { slugPath: slug, slugBytes };
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/** Not by way of a link: the build may have made one that leads out. */
async function isDirectory(root: string, path: string): Promise<boolean> {
  let at = root;
  for (const part of path.split("/")) {
    at = join(at, part);
    const found = await lstat(at).catch(() => undefined);
    if (found?.isDirectory() !== true) return false;
  }
  return true;
}
