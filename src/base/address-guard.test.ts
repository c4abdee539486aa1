/** Which addresses may be called where somebody else has named them. */
import { describe, expect, it } from "vitest";
import { createAddressGuard } from "./address-guard.js";

describe("addresses", () => {
  const isCallable = createAddressGuard([]);

  it.each(["93.184.216.34", "1.1.1.1", "2606:4700:4700::1111"])("%s of the public internet", (address) => {
    expect(isCallable(address)).toBe(true);
  });

  it.each([
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2001:0:1::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "localhost",
    "",
    "1.2.3",
  ])("%s is not called", (address) => {
    expect(isCallable(address)).toBe(false);
  });

  it("that are allowed", () => {
    const some = createAddressGuard(["loopback", "10.1.0.0/16", "192.168.1.7", "fd00::/8"]);
    for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "192.168.1.7", "fd12::1"])
      expect(some(address), address).toBe(true);
    for (const address of ["10.2.0.1", "192.168.1.8", "169.254.169.254", "fe80::1"])
      expect(some(address), address).toBe(false);
    expect(createAddressGuard(["private"])("172.16.0.1")).toBe(true);
  });

  it("that are none", () => {
    for (const text of ["internal", "10.0.0.0/99", "10.0.0", ""])
      expect(() => createAddressGuard([text]), text).toThrow(/no address, no network/);
  });
});
