import { describe, expect, it } from "vitest";
import { openrukoFromEnvironment } from "./openruko-environment.js";

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
