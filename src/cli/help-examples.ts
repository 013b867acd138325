/**
 * Examples in the help of every command: one that has none of its own shows those of the command it belongs to, only those about it where there are
 * any, or those of the commands below it.
 */
import type { EventEmitter } from "node:events";
import type { Command } from "commander";

/** For a command and all below it. `path`: the words before its name. */
export function completeHelp(command: Command, path: string): void {
	const own = `${path} ${command.name()}`;
	const text = textAfterHelp(command);
	for (const inner of command.commands) {
		if (textAfterHelp(inner).includes("Examples")) continue;
		const all = examplesIn(text);
		const about = all.filter((line) => line.trimStart().startsWith(`${own} ${inner.name()}`));
		const examples = about.length > 0 ? about : all;
		const status = text.split("\n").filter((line) => line.startsWith("Exit status"));
		if (examples.length > 0) inner.addHelpText("after", `\nExamples:\n${[...examples, "", ...status].join("\n")}`);
	}
	if (!text.includes("Examples")) {
		const examples = command.commands.flatMap((inner) => examplesIn(textAfterHelp(inner)).slice(0, 1));
		if (examples.length > 0) command.addHelpText("after", `\nExamples:\n${examples.join("\n")}`);
	}
	for (const inner of command.commands) completeHelp(inner, own);
}

/** What follows the help of a command, as its author wrote it. */
function textAfterHelp(command: Command): string {
	let text = "";
	// Commands are emitters, although their types do not say so.
	(command as unknown as EventEmitter).emit("afterHelp", {
		error: false,
		command,
		write: (part: string) => {
			text += part;
		},
	});
	return text;
}

/** The lines below `Examples:`, up to the next empty one. */
function examplesIn(text: string): readonly string[] {
	const lines = text.split("\n");
	const from = lines.findIndex((line) => line.startsWith("Examples")) + 1;
	if (from === 0) return [];
	const until = lines.indexOf("", from);
	return lines.slice(from, until < 0 ? undefined : until);
}
