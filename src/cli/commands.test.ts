import { expect, it } from "vitest";
import { COMMANDS, loadCommands } from "./commands.js";

it("each is what its name says, and alone or with those of its file", async () => {
  for (const [names] of COMMANDS)
    for (const name of names)
      expect((await loadCommands(name)).map((command) => command.name())).toEqual(names);
});

it("all are there where none is asked for", async () => {
  const all = COMMANDS.flatMap(([names]) => names);
  expect(new Set(all).size).toBe(all.length);
  for (const name of [undefined, "help", "--version", "unheard-of", "toString"])
    expect((await loadCommands(name)).map((command) => command.name())).toEqual(all);
});
