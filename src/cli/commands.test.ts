/** What holds for every command there is. */
import type { Command } from "commander";
import { expect, test } from "vitest";
import { allCommands, COMMANDS } from "./commands.ts";
import { completeHelp } from "./help-examples.ts";

function all(command: Command): readonly Command[] {
	return [command, ...command.commands.flatMap(all)];
}

function helpOf(command: Command): string {
	let text = "";
	command.configureOutput({
		writeOut: (part) => {
			text += part;
		},
	});
	command.outputHelp();
	return text;
}

test("the help of every command describes it, with examples", async () => {
	const commands = await allCommands();
	expect(commands.map((command) => command.name())).toEqual(Object.keys(COMMANDS));
	for (const command of commands) completeHelp(command, "tokligence");
	const every = commands.flatMap(all);
	expect(every.length).toBeGreaterThan(60);
	expect(every.filter((command) => command.description() === "").map((command) => command.name())).toEqual([]);
	const withHelp = every.map((command) => [command.name(), helpOf(command)] as const);
	expect(withHelp.filter(([, help]) => !help.includes("\nExamples:\n")).map(([name]) => name)).toEqual([]);
});

test("every option is described", async () => {
	const every = (await allCommands()).flatMap(all);
	const bare = every.flatMap((command) =>
		command.options.filter(({ description }) => description === "").map(({ flags }) => `${command.name()} ${flags}`),
	);
	expect(bare).toEqual([]);
});
