/**
 * The three programs of a buildpack, as they are called. Specification: Heroku, "Buildpack API" (bin/detect, bin/compile,
 * bin/release).
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describeEnd, type ExecutionEnd } from "../executors/executor.js";
import { BuildFailure } from "./build-failure.js";
import type { BuildOutput } from "./build-output.js";
import type { BuildPlace } from "./build-place.js";
import { isYamlMap, readYaml } from "./read-yaml.js";
import { checkProcessTypes, type ProcessTypes } from "./procfile.js";
import { isVariableName } from "../state/app-rules.js";

const DETECT_TIMEOUT_MS = 30_000;
const RELEASE_TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 64 * 1024;

export interface BuildpackRelease {
  readonly processTypes: ProcessTypes;
  readonly config: Readonly<Record<string, string>>;
  readonly addons: readonly string[];
}

/** @returns what it calls itself (`Node.js`), or undefined when the build is not for it @throws BuildFailure it cannot be called */
export async function detect(
  place: BuildPlace,
  buildpack: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  // Not by its status: that of a shell that does not find what it is to run may be the program's answer.
  if (!(await isProgram(join(buildpack, "bin/detect"))))
    throw new BuildFailure("the buildpack has no bin/detect that can be run");
  const { end, text } = await answerOf(place, buildpack, "detect", DETECT_TIMEOUT_MS, signal);
  if (end.ended !== undefined) throw new BuildFailure(`bin/detect: ${end.ended}`);
  if (end.status !== 0) return undefined;
  return text.trim().split("\n")[0]?.slice(0, 100) ?? "";
}

/** @throws BuildFailure */
export async function compile(
  place: BuildPlace,
  buildpack: string,
  output: BuildOutput,
  signal: AbortSignal,
): Promise<void> {
  const end = await place.run({
    command: (at) => [`${at.buildpack}/bin/compile`, at.build, at.cache, at.env],
    buildpack,
    print: output.raw,
    signal,
  });
  const wrong = describeEnd(end);
  if (wrong !== undefined) throw new BuildFailure(`bin/compile failed: ${wrong}`);
}

/** A buildpack without `bin/release` has nothing to say. @throws BuildFailure, object/malformed */
export async function release(
  place: BuildPlace,
  buildpack: string,
  signal: AbortSignal,
): Promise<BuildpackRelease> {
  const { end, text } = await answerOf(place, buildpack, "release", RELEASE_TIMEOUT_MS, signal);
  const wrong = describeEnd(end);
  if (wrong !== undefined) throw new BuildFailure(`bin/release failed: ${wrong}`);
  return parseRelease(text);
}

/** Older buildpacks print `--- {}`, newer ones leave out what they have nothing to say about. @throws object/malformed */
export function parseRelease(text: string): BuildpackRelease {
  const yaml = readYaml(text, "bin/release");
  if (!isYamlMap(yaml)) return { processTypes: {}, config: {}, addons: [] };
  const pairs = (key: string): readonly (readonly [string, string])[] => {
    const value = yaml.get(key);
    if (!isYamlMap(value)) return [];
    return [...value].flatMap(([name, each]) => (typeof each === "string" ? [[name, each] as const] : []));
  };
  const addons = yaml.get("addons");
  return {
    processTypes: checkProcessTypes(pairs("default_process_types"), "bin/release"),
    config: Object.fromEntries(pairs("config_vars").filter(([name]) => isVariableName(name))),
    addons: Array.isArray(addons) ? addons.filter((one) => typeof one === "string") : [],
  };
}

async function isProgram(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile() && (found.mode & 0o111) !== 0,
    () => false,
  );
}

async function answerOf(
  place: BuildPlace,
  buildpack: string,
  program: "detect" | "release",
  timeoutMs: number,
  signal: AbortSignal,
): Promise<{ readonly end: ExecutionEnd; readonly text: string }> {
  const chunks: Uint8Array[] = [];
  const end = await place.run({
    command: (at) => [`${at.buildpack}/bin/${program}`, at.build],
    buildpack,
    print: (bytes) => void chunks.push(bytes),
    signal,
    limits: { timeoutMs, outputBytesMax: ANSWER_BYTES_MAX },
    network: false,
  });
  return { end, text: Buffer.concat(chunks).toString("utf8") };
}
