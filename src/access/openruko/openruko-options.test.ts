import { describe, expect, it } from "vitest";
import { checkOpenrukoOptions } from "./openruko-options.js";

const apiServerKey = "the-key";

describe("the option openruko", () => {
  it("has Openruko's own defaults", () => {
    expect(checkOpenrukoOptions({ apiServerKey })).toMatchObject({
      apiServerUrl: "http://localhost:5000",
      rendezvousPort: 4000,
      rendezvousSecret: apiServerKey,
      provisionTimeoutMs: 30_000,
      exitTimeoutMs: 10_000,
      heartbeatMs: 60_000,
      halfClose: false,
    });
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a list", []],
    ["no key", {}],
    ["a key of two lines", { apiServerKey: "a\nb" }],
    ["an option that is not known", { apiServerKey, apiserverUrl: "http://localhost" }],
    ["keys in the clear", { apiServerKey, apiServerUrl: "http://api.example.org" }],
    ["a secret of two lines", { apiServerKey, rendezvousSecret: "a\nb" }],
    ["a port that is none", { apiServerKey, rendezvousPort: 0 }],
    ["authorities that are not there", { apiServerKey, rendezvousCaFile: "/nonexistent/ca.pem" }],
    ["authorities that are none", { apiServerKey, apiServerCaFile: "package.json" }],
    ["a name that is none", { apiServerKey, rendezvousServerName: "a b" }],
    ["a rate that is none", { apiServerKey, refusalsPerUser: 3 }],
    ["a switch that is none", { apiServerKey, halfClose: "yes" }],
  ])("is refused with %s", (_, options) => {
    expect(() => checkOpenrukoOptions(options)).toThrow(
      expect.objectContaining({ code: "server/bad-configuration" }),
    );
  });

  it("takes http: to another machine when told to", () => {
    const options = { apiServerKey, apiServerUrl: "http://api.example.org/", insecure: true };
    expect(checkOpenrukoOptions(options).apiServerUrl).toBe("http://api.example.org");
  });
});
