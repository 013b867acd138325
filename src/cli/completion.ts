/** `tokligence completion`: a script that teaches a shell the commands and their options. */
import { Argument, Command } from "commander";
import { completionScript, SHELLS, type Shell } from "./completion-scripts.ts";
import { type CommandIo, processIo } from "./config-options.ts";

/** `commands`: all there are; loaded only here, where all are needed. */
export function completionCommand(commands: () => Promise<readonly Command[]>, io: CommandIo = processIo()): Command {
	return new Command("completion")
		.description("print a completion script for your shell")
		.addArgument(new Argument("<shell>", "which one").choices(SHELLS))
		.addHelpText(
			"after",
			`
Examples:
  source <(tokligence completion bash)
  source <(tokligence completion zsh)
  tokligence completion fish > ~/.config/fish/completions/tokligence.fish

Exit status: 0, 1 for another shell.`,
		)
		.action(async (shell: Shell) => io.out(completionScript(shell, "tokligence", await commands()).trimEnd()));
}
