import { describe, expect, it } from "vitest";
import { dynoFromEnvironment, openrukoFromEnvironment } from "./openruko-environment.js";

const KEY = { APISERVER_KEY: "secret" };

describe("Openruko's environment", () => {
  it.each<[string, NodeJS.ProcessEnv, object]>([
    ["the key alone", {}, { apiServerUrl: "http://localhost:5000" }],
    [
      "all of it",
      {
        APISERVER_PROTOCOL: "https",
        APISERVER_HOSTNAME: "api.example.org",
        APISERVER_PORT: "8443",
        DYNOHOST_RENDEZVOUS_PORT: "4001",
      },
      { apiServerUrl: "https://api.example.org:8443", rendezvousPort: 4001 },
    ],
    ["an address of IPv6", { APISERVER_HOSTNAME: "::1" }, { apiServerUrl: "http://[::1]:5000" }],
    [
      "empty variables",
      { APISERVER_PORT: "", APISERVER_HOSTNAME: "", DYNOHOST_RENDEZVOUS_PORT: "" },
      {
        apiServerUrl: "http://localhost:5000",
      },
    ],
  ])("is read: %s", (_, environment, expected) => {
    expect(openrukoFromEnvironment({ ...KEY, ...environment }, undefined)).toEqual({
      apiServerKey: "secret",
      ...expected,
    });
  });

  it("goes before the configuration file, part by part", () => {
    const fromFile = { apiServerKey: "other", apiServerUrl: "https://api.example.org:1", pushQueueMax: 3 };
    expect(openrukoFromEnvironment({ APISERVER_PORT: "2" }, fromFile)).toEqual({
      apiServerKey: "other",
      apiServerUrl: "https://api.example.org:2",
      pushQueueMax: 3,
    });
  });

  it.each<[string, NodeJS.ProcessEnv]>([
    ["no key", { APISERVER_KEY: "" }],
    ["a port that is none", { ...KEY, APISERVER_PORT: "70000" }],
    ["a port in words", { ...KEY, DYNOHOST_RENDEZVOUS_PORT: "four" }],
    ["a host that is none", { ...KEY, APISERVER_HOSTNAME: "a b" }],
  ])("is refused: %s", (_, environment) => {
    expect(() => openrukoFromEnvironment(environment, undefined)).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });
});

describe("the environment of builds in dynos", () => {
  const ACCOUNT = { DYNO_API_KEY: "account" };

  it("has the same names, and the key of an account", () => {
    expect(dynoFromEnvironment({ ...KEY, ...ACCOUNT, DYNOHOST_RENDEZVOUS_PORT: "5" })).toEqual({
      apiKey: "account",
      rendezvousSecret: "secret",
      apiServerUrl: "http://localhost:5000",
      rendezvousPort: 5,
    });
  });

  it("goes before the configuration file, but for a secret of its own", () => {
    const fromFile = {
      apiKey: "other",
      rendezvousSecret: "of dyno hosts",
      rendezvousPort: 6,
      idleTimeoutMs: 7,
    };
    expect(dynoFromEnvironment({ ...KEY, ...ACCOUNT, APISERVER_PORT: "2" }, fromFile)).toEqual({
      apiKey: "account",
      rendezvousSecret: "of dyno hosts",
      apiServerUrl: "http://localhost:2",
      rendezvousPort: 6,
      idleTimeoutMs: 7,
    });
  });

  it.each([KEY, ACCOUNT, { ...KEY, DYNO_API_KEY: "" }])("is refused without both keys: %o", (environment) => {
    expect(() => dynoFromEnvironment(environment)).toThrow("DYNO_API_KEY");
  });
});
