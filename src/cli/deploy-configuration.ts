/**
 * What a configuration file says of push to deploy (`deploy`), looked at before anything is opened: an option that is not
 * understood must not be taken for one that is absent.
 */
import { GitwharfError } from "../base/errors.js";
import type { DeploymentOptions } from "../deploy/deployment.js";
import type { ContainerOptions } from "../deploy/executors/container-executor.js";
import type { DynoExecutor, DynoOptions } from "../deploy/executors/dyno-executor.js";
import { DEFAULT_EXECUTION_LIMITS, type Executor } from "../deploy/executors/executor.js";
import type { SandboxOptions } from "../deploy/executors/sandbox-executor.js";
import { PROXY_TIMES } from "../deploy/launch/proxy/exchange.js";

export const EXECUTOR_NAMES = ["sandbox", "container", "plain", "dyno"] as const;
export type ExecutorName = (typeof EXECUTOR_NAMES)[number];

export interface DeployConfiguration
  extends Partial<
    Omit<
      DeploymentOptions,
      "repositories" | "executor" | "controlSocket" | "logs" | "log" | "observer" | "newApps"
    >
  > {
  /** Where builds and apps run. @default "sandbox" */
  readonly executor?: ExecutorName | Executor | DynoExecutor;
  readonly sandbox?: SandboxOptions;
  readonly container?: ContainerOptions;
  /** What the environment says goes before it (APISERVER_KEY, DYNO_API_KEY and the others). */
  readonly dyno?: Partial<DynoOptions>;
  /** @default "declared" */
  readonly newApps?: DeploymentOptions["newApps"];
  /** What pushers read at the end, with `APP` for the app's name. @default `http://APP.DOMAIN:PORT` */
  readonly url?: string;
}

type Check = readonly [expected: string, isGood: (value: unknown) => boolean];

const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const hasOnly =
  (checks: Readonly<Record<string, (value: unknown) => boolean>>) =>
  (value: unknown): boolean =>
    isObject(value) &&
    Object.entries(value).every(([key, one]) => one === undefined || checks[key]?.(one) === true);
const isOneOf =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    values.includes(value);
const isAmount = (value: unknown): boolean => typeof value === "number" && value > 0;
const isCount = (value: unknown): boolean =>
  typeof value === "number" && Number.isInteger(value) && value > 0;
const isUser = hasOnly({ uid: Number.isInteger, gid: Number.isInteger });
const allOf = (names: object, isGood: (value: unknown) => boolean) =>
  hasOnly(Object.fromEntries(Object.keys(names).map((name) => [name, isGood])));
const namesOf = (names: object): string => Object.keys(names).join(", ");

const TEXT: Check = ["a text", isText];
const TEXTS: Check = ["a list of texts", (value) => isList(value) && value.every(isText)];
const TEXT_BY_NAME: Check = [
  'an object of texts: { NAME: "TEXT" }',
  (value) => isObject(value) && Object.values(value).every((one) => typeof one === "string"),
];
const MILLISECONDS: Check = ["a number of milliseconds above 0", isAmount];
const COUNT: Check = ["a whole number above 0", isCount];
const LIMITS: Check = [
  `an object of numbers above 0 for ${namesOf(DEFAULT_EXECUTION_LIMITS)}`,
  allOf(DEFAULT_EXECUTION_LIMITS, isAmount),
];

const CHECKS: Readonly<Record<keyof Required<DeployConfiguration>, Check>> = {
  executor: [
    `${EXECUTOR_NAMES.map((name) => `"${name}"`).join(", ")} or an executor`,
    (value) =>
      isOneOf(...EXECUTOR_NAMES)(value) ||
      (isObject(value) && [value["run"], value["meet"]].some((one) => typeof one === "function")),
  ],
  sandbox: [
    "{ program?, readOnlyPaths?, user?: { uid, gid }, controlGroups? }",
    hasOnly({
      program: isText,
      readOnlyPaths: TEXTS[1],
      user: isUser,
      controlGroups: isOneOf("try", "require", "never"),
    }),
  ],
  container: [
    "{ image, program?, programArguments?, user?: { uid, gid } }",
    (value) =>
      hasOnly({ image: isText, program: isText, programArguments: TEXTS[1], user: isUser })(value) &&
      isText((value as ContainerOptions).image),
  ],
  dyno: [
    "{ apiKey?, rendezvousSecret?, apiServerUrl?, apiServerCaFile?, rendezvousPort?, rendezvousCaFile?, rendezvousServerName?, provisionTimeoutMs?, exitTimeoutMs?, heartbeatMs?, idleTimeoutMs? }",
    hasOnly({
      apiKey: isText,
      rendezvousSecret: isText,
      apiServerUrl: isText,
      apiServerCaFile: isText,
      rendezvousPort: isCount,
      rendezvousCaFile: isText,
      rendezvousServerName: isText,
      provisionTimeoutMs: isAmount,
      exitTimeoutMs: isAmount,
      heartbeatMs: isAmount,
      idleTimeoutMs: isAmount,
    }),
  ],
  database: ["a text: sqlite:PATH or postgres://USER@HOST/NAME", isText],
  directory: TEXT,
  apps: ["a list of names", TEXTS[1]],
  newApps: ['"declared", "always" or "never"', isOneOf("declared", "always", "never")],
  branch: ["the name of a branch", isText],
  buildpacks: [
    "a list of { name, directory }",
    (value) =>
      isList(value) && value.every((one) => isObject(one) && isText(one["name"]) && isText(one["directory"])),
  ],
  allowedBuildpacks: ["a list of patterns of addresses", TEXTS[1]],
  network: ['true, false or "when-asked"', isOneOf(true, false, "when-asked")],
  buildLimits: LIMITS,
  processLimits: LIMITS,
  stack: TEXT,
  path: TEXT,
  onBuildFailure: ['"refuse" or "accept"', isOneOf("refuse", "accept")],
  concurrencyMax: COUNT,
  pushTimeoutMs: MILLISECONDS,
  leaseMs: MILLISECONDS,
  claimsMax: COUNT,
  releasesKept: COUNT,
  buildsKept: COUNT,
  domain: ["a host name", isText],
  hosts: ['an object of apps by host name: { "www.example.org": "shop" }', TEXT_BY_NAME[1]],
  url: [
    "an address with APP in it: https://APP.example.org",
    (value) => typeof value === "string" && /^https?:\/\/\S+$/.test(value) && value.includes("APP"),
  ],
  health: [
    "{ path?, timeoutMs?, intervalMs?, answerTimeoutMs? }",
    hasOnly({ path: isText, timeoutMs: isAmount, intervalMs: isAmount, answerTimeoutMs: isAmount }),
  ],
  drainMs: MILLISECONDS,
  environment: TEXT_BY_NAME,
  times: [`an object of milliseconds for ${namesOf(PROXY_TIMES)}`, allOf(PROXY_TIMES, isAmount)],
  requestsMax: COUNT,
};

export const DEPLOY_KEYS: readonly string[] = Object.keys(CHECKS);

/**
 * @param value of the file: true, or an object; false and undefined: no push to deploy
 * @throws server/bad-configuration
 */
export function checkDeployConfiguration(value: unknown): DeployConfiguration | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return {};
  if (!isObject(value)) throw wrong("deploy is true, false or an object");
  for (const [key, one] of Object.entries(value)) {
    if (!Object.hasOwn(CHECKS, key))
      throw wrong(`deploy has no '${key}'; known are ${Object.keys(CHECKS).join(", ")}`);
    const [expected, isGood] = CHECKS[key as keyof typeof CHECKS];
    if (one !== undefined && !isGood(one)) throw wrong(`deploy.${key} is ${expected}`);
  }
  const { executor, container } = value as DeployConfiguration;
  if (executor === "container" && container === undefined)
    throw wrong('deploy.executor "container" needs deploy.container.image');
  return value;
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", why);
}
