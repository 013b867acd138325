import { Command } from "commander";
import { expect, test } from "vitest";
import { completeHelp } from "./help-examples.ts";

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

test("a command without examples shows those of its parent that are about it, and the exit status", () => {
	const inner = new Command("create");
	const other = new Command("delete");
	const command = new Command("token")
		.addCommand(inner)
		.addCommand(other)
		.addHelpText("after", "\nExamples:\n  t token create --a\n  t token create --b\n  t token list\n\nExit status: 0.");
	completeHelp(command, "t");
	expect(helpOf(inner)).toContain("Examples:\n  t token create --a\n  t token create --b\n\nExit status: 0.");
	expect(helpOf(other)).toContain("t token list");
});

test("a parent without examples shows one of each command below it; own examples stay alone", () => {
	const inner = new Command("show").addHelpText(
		"after",
		"\nExamples:\n  t config show\n  t config show --json\n\nmore",
	);
	const command = new Command("config").addCommand(inner);
	completeHelp(command, "t");
	expect(helpOf(command)).toContain("Examples:\n  t config show\n");
	expect(helpOf(command)).not.toContain("--json");
	expect(helpOf(inner).match(/Examples/g)).toHaveLength(1);
});
