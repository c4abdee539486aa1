/** `gitwharf/testing`: a server for the tests of programs that speak to one. */
export { createTestServer, type TestServer } from "./test-server.js";
