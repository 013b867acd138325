/** `tokligence`: each command is a file of its own, loaded only when it is called, so that every start is quick. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { allCommands, COMMANDS } from "./commands.ts";
import { completeHelp } from "./help-examples.ts";
import { inlineMore } from "./inlining.ts";

inlineMore();

const version = (
	JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
).version;

// a reader that has seen enough (`| head`) is no failure of ours
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	if (error.code !== "EPIPE") throw error;
	process.exit();
});

const program = new Command("tokligence")
	.description("LLM gateway that schedules requests for self-hosted capacity")
	.version(version)
	.showHelpAfterError("(--help shows what is allowed)")
	.addHelpText(
		"after",
		`
Examples:
  tokligence demo
  tokligence start --upstream http://127.0.0.1:8000
  tokligence top
  tokligence token --help`,
	);

// `… | head` has read enough: no failure, and nothing more to say.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	if (error.code !== "EPIPE") throw error;
	process.exit();
});

const wanted = process.argv[2];
const load = wanted === undefined ? undefined : COMMANDS[wanted];
for (const command of load === undefined ? await allCommands() : [await load()]) {
	completeHelp(command, program.name());
	program.addCommand(command);
}
await program.parseAsync();
