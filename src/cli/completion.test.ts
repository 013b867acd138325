import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Argument, Command, Option } from "commander";
import { expect, onTestFinished, test } from "vitest";
import { completionCommand } from "./completion.ts";
import { completionScript } from "./completion-scripts.ts";

const COMMANDS = [
	new Command("token")
		.description("API tokens: who may come in")
		.addCommand(new Command("create").option("--account <id>", "whose it's").option("-c, --config <file>", "file"))
		.addCommand(new Command("revoke").option("--json", "as JSON")),
	new Command("tail").addOption(new Option("--event <kind>", "only these").choices(["wait", "end"])),
	new Command("completion").addArgument(new Argument("<shell>").choices(["bash", "zsh"])),
];

/** What bash offers after these words; the last one is being typed. */
function offered(words: readonly string[]): string {
	const script = `${completionScript("bash", "tokligence", COMMANDS)}
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _tokligence; printf '%s ' "\${COMPREPLY[@]}"`;
	const run = spawnSync("bash", ["-c", script, "bash", ...words], { encoding: "utf8" });
	expect(run.stderr).toBe("");
	return run.stdout.trim();
}

test("bash offers commands, their commands, options and closed lists of values", () => {
	expect(offered(["tokligence", "to"])).toBe("token");
	expect(offered(["tokligence", "token", ""])).toBe("create revoke --help");
	expect(offered(["tokligence", "token", "create", "--a"])).toBe("--account");
	expect(offered(["tokligence", "token", "revoke", "tok_1", "--"])).toBe("--json --help");
	expect(offered(["tokligence", "tail", "--event", ""])).toBe("wait end");
	expect(offered(["tokligence", "completion", "z"])).toBe("zsh");
});

test("bash leaves values to the files there are", () => {
	expect(offered(["tokligence", "token", "create", "--config", ""])).toBe("");
	expect(offered(["tokligence", "token", "create", "-c", ""])).toBe("");
});

test.each(["zsh", "fish"] as const)("%s: a script it can read, where it is installed", (shell) => {
	const script = completionScript(shell, "tokligence", COMMANDS);
	expect(script).toContain("revoke");
	expect(script).toContain("API tokens");
	const folder = mkdtempSync(join(tmpdir(), "completion-"));
	onTestFinished(() => rmSync(folder, { recursive: true }));
	const file = join(folder, "script");
	writeFileSync(file, script);
	const run = spawnSync(shell, ["-n", file], { encoding: "utf8" });
	// Without that shell the text is all there is to see.
	if (run.error === undefined) expect([run.status, run.stderr]).toEqual([0, ""]);
});

test("the command prints the script of all commands", async () => {
	const out: string[] = [];
	const io = { env: {}, out: (text: string) => out.push(text), error: () => {}, setExitCode: () => {} };
	await completionCommand(async () => COMMANDS, io).parseAsync(["bash"], { from: "user" });
	expect(out.join("")).toContain("complete -o default -F _tokligence tokligence");
});
