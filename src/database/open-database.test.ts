/** Names of databases: by them it is known whether two things are kept in the same one. */
import { expect, it } from "vitest";
import { databaseName } from "./open-database.js";

it("are the same for the same database, and tell no password", () => {
  const name = databaseName("postgres://git:hush@db.example.com/production");
  expect(databaseName("postgres://git:hush@db.example.com/production")).toBe(name);
  expect(databaseName("postgres://git:hush@db.example.com/staging")).not.toBe(name);
  expect(name).not.toContain("hush");
  expect(databaseName("sqlite:state/db.sqlite")).toBe(databaseName("sqlite:./state/../state/db.sqlite"));
  expect(databaseName("sqlite:state/db.sqlite")).not.toBe(databaseName("sqlite:other/db.sqlite"));
  expect(() => databaseName("mysql://db.example.com/git")).toThrow("a database is written");
});
