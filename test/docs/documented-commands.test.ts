/**
 * What README, docs and help show cannot rot: every command line that they show is one that the program takes; every INI block is a valid
 * configuration, every JSON block JSON; what manages a gateway is run, block after block, against one.
 */
import { globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type RunningGateway, startGateway } from "../../src/app/gateway.ts";
import { allCommands, COMMANDS } from "../../src/cli/commands.ts";
import { completeHelp } from "../../src/cli/help-examples.ts";
import { loadConfig } from "../../src/config/load.ts";
import { type MockLlm, startMockLlm } from "../../src/load/mock-llm-server.ts";

const root = path.resolve(import.meta.dirname, "../..");
const pages = ["README.md", ...globSync("docs/*.md", { cwd: root }).sort()];

interface Block {
	/** Page and number within it. */
	readonly name: string;
	readonly language: string;
	readonly text: string;
}

const blocks: readonly Block[] = pages.flatMap((page) =>
	[...readFileSync(path.join(root, page), "utf8").matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(
		([, language, text], index) => ({ name: `${page} ${index + 1}`, language: language!, text: text! }),
	),
);
const blocksOf = (language: string) => blocks.filter((block) => block.language === language);

interface Line {
	readonly where: string;
	/** After `tokligence`. */
	readonly words: readonly string[];
	/** `> file` at its end. */
	readonly into: string | undefined;
}

/** Words as a shell reads them; `#` begins a comment. */
function wordsOf(line: string): readonly string[] {
	const words = line.matchAll(/(?:^|(?<=\s))(#.*$|(?:"[^"]*"|'[^']*'|[^\s"'])+)/g);
	return [...words]
		.map((match) => match[1]!)
		.filter((word) => !word.startsWith("#"))
		.map((word) => word.replaceAll(/["']/g, ""));
}

/** The parts of a pipe that call us. */
function commandsIn(where: string, line: string): readonly Line[] {
	return line.split(/ \| | && /).flatMap((part) => {
		const words = wordsOf(
			part.replace(/^\s*(?:node bin\/tokligence\.js|npm run(?: --silent)? demo --)(?=\s|$)/, (start) =>
				start.includes("demo") ? "tokligence demo" : "tokligence",
			),
		);
		if (words[0] !== "tokligence" || words.length < 2) return [];
		const arrow = words.findIndex((word) => word === ">" || word === ">>");
		const own = words.slice(1, arrow < 0 ? undefined : arrow);
		return [{ where, words: own, into: arrow < 0 ? undefined : words[arrow + 1] }];
	});
}

const linesOf = ({ name, text }: Block) => text.split("\n").flatMap((line) => commandsIn(name, line));

async function helpLines(): Promise<readonly Line[]> {
	const commands = await allCommands();
	const found: Line[] = [];
	const visit = (command: Command, own: string) => {
		let text = "";
		command.configureOutput({ writeOut: (part) => (text += part) });
		command.outputHelp();
		expect(`${own}: ${text.includes("Examples:")}`).toBe(`${own}: true`);
		for (const line of text.split("\n")) found.push(...commandsIn(`${own} --help`, line));
		for (const inner of command.commands) visit(inner, `${own} ${inner.name()}`);
	};
	for (const command of commands) {
		completeHelp(command, "tokligence");
		visit(command, `tokligence ${command.name()}`);
	}
	return found;
}

/** What is wrong with a line, or nothing. */
async function refusalOf({ words }: Line): Promise<string | undefined> {
	const [name = "", ...rest] = words;
	const make = COMMANDS[name];
	if (make === undefined) return `there is no command ${name}`;
	let command = await make();
	let args = rest;
	for (;;) {
		const inner = command.commands.find((each) => each.name() === args[0]);
		if (inner === undefined) break;
		command = inner;
		args = args.slice(1);
	}
	if (args.includes("--help")) return undefined;
	if (command.commands.length > 0) return `${command.name()} needs one of its commands`;
	let refusal: string | undefined;
	command.exitOverride((error) => {
		throw error;
	});
	command.configureOutput({ writeErr: () => {} });
	try {
		const { operands, unknown } = command.parseOptions([...args]);
		if (unknown.length > 0) return `${unknown.join(" ")} is unknown`;
		const wanted = command.registeredArguments;
		const most = wanted.some((argument) => argument.variadic) ? Number.POSITIVE_INFINITY : wanted.length;
		if (operands.length > most) return `${operands.join(" ")} is too much`;
		if (operands.length < wanted.filter((argument) => argument.required).length) return "an argument is missing";
		const missing = command.options.find(
			(option) => option.mandatory && command.getOptionValue(option.attributeName()) === undefined,
		);
		if (missing !== undefined) return `${missing.flags} is missing`;
	} catch (error) {
		refusal = (error as Error).message;
	}
	return refusal;
}

test("lines are read as a shell reads them", async () => {
	expect(commandsIn("x", '  node bin/tokligence.js rule create --name "a b" > f.txt # why')).toEqual([
		{ where: "x", words: ["rule", "create", "--name", "a b"], into: "f.txt" },
	]);
	expect(commandsIn("x", 'printf %s "$KEY" | tokligence token hash --account a --tier b >> keys.csv')).toHaveLength(1);
	expect(commandsIn("x", "npm ci && npm test")).toEqual([]);
	const refused = ["statuss", "token", "token create --acount a", "db restore", "status a b", "usage --group account"];
	for (const line of refused) {
		expect([line, await refusalOf(commandsIn("x", `tokligence ${line}`)[0]!)]).not.toEqual([line, undefined]);
	}
});

test("every command line of README and docs is one that the program takes", async () => {
	const lines = blocksOf("sh").flatMap(linesOf);
	expect(lines.length).toBeGreaterThan(40);
	const wrong: string[] = [];
	for (const line of lines) {
		const refusal = await refusalOf(line);
		if (refusal !== undefined) wrong.push(`${line.where}: tokligence ${line.words.join(" ")}: ${refusal}`);
	}
	expect(wrong).toEqual([]);
});

test("every help has examples, and each is one that the program takes", async () => {
	const lines = await helpLines();
	expect(lines.length).toBeGreaterThan(100);
	const wrong: string[] = [];
	for (const line of lines) {
		const refusal = await refusalOf(line);
		if (refusal !== undefined) wrong.push(`${line.where}: tokligence ${line.words.join(" ")}: ${refusal}`);
	}
	expect(wrong).toEqual([]);
});

test.each(blocksOf("ini").map((block) => [block.name, block.text] as const))(
	"%s is a valid configuration",
	(_, text) => {
		const result = loadConfig({ text });
		expect(result.ok ? [] : result.errors).toEqual([]);
	},
);

test.each(blocksOf("json").map((block) => [block.name, block.text] as const))("%s is JSON", (_, text) => {
	expect(() => JSON.parse(text)).not.toThrow();
});

/** Commands that end by themselves, and need nothing but a gateway or a configuration. */
const RUN = new Set(
	"account token usage rule quota queue request status explain config export diff apply window windows validate-config db doctor".split(
		" ",
	),
);

const managing = blocks.flatMap(({ name, language, text }) => {
	if (language === "yaml") {
		const steps = ["apply -f shown.yaml", "diff -f shown.yaml"].map((line) => ({
			where: name,
			words: line.split(" "),
			into: undefined,
		}));
		return [{ name, text, lines: steps as readonly Line[] }];
	}
	const lines = language === "sh" ? linesOf({ name, language, text }).filter(({ words }) => RUN.has(words[0]!)) : [];
	return lines.length === 0 ? [] : [{ name, text: "", lines }];
});
const managingPages = [...new Set(managing.map(({ name }) => name.split(" ")[0]!))];

test("most pages show commands that manage a gateway", () => {
	expect(managing.flatMap(({ lines }) => lines).length).toBeGreaterThan(20);
	expect(managingPages.length).toBeGreaterThan(3);
});

describe.each(managingPages)("%s, from its top to its end, on a new gateway", (page) => {
	let folder: string;
	let gateway: RunningGateway;
	let mock: MockLlm;
	const before = process.cwd();

	beforeAll(async () => {
		folder = mkdtempSync(path.join(tmpdir(), "documented-"));
		symlinkSync(path.join(root, "config"), path.join(folder, "config"));
		writeFileSync(path.join(folder, "gateway.ini"), "[request_scheduler]\nallocator = bucket\n");
		process.chdir(folder);
		vi.stubEnv("TOKLIGENCE_DATA_DIR", path.join(folder, "data"));
		mock = await startMockLlm({ speed: 50, seed: 1 });
		const flags = { upstream: mock.url, dataDir: path.join(folder, "data"), port: "0", adminPort: "0" };
		const load = () => loadConfig({ text: "[observability]\nlog_level = silent\n", flags });
		const loaded = load();
		if (!loaded.ok) throw new Error("configuration");
		gateway = await startGateway(loaded.config, { file: undefined, effective: loaded.effective, load });
		for (const id of ["customer-1", "shop"]) {
			const account = {
				id,
				email: `${id}@example.com`,
				name: id,
				accountType: "external",
				organisation: "acme",
			} as const;
			await gateway.stores.accounts.create(account, "test");
		}
	});
	afterAll(async () => {
		process.chdir(before);
		vi.unstubAllEnvs();
		process.exitCode = undefined;
		await gateway.close();
		await mock.close();
		rmSync(folder, { recursive: true });
	});

	async function run({ words, into }: Line): Promise<{ readonly status: number; readonly error: string }> {
		const output: string[] = [];
		const errors: string[] = [];
		const out = vi.spyOn(process.stdout, "write").mockImplementation((text) => output.push(String(text)) > 0);
		const error = vi.spyOn(process.stderr, "write").mockImplementation((text) => errors.push(String(text)) > 0);
		process.exitCode = undefined;
		try {
			const [name = "", ...rest] = words;
			await (await COMMANDS[name]!()).parseAsync(rest, { from: "user" });
		} finally {
			out.mockRestore();
			error.mockRestore();
		}
		const status = Number(process.exitCode ?? 0);
		process.exitCode = undefined;
		if (into !== undefined) writeFileSync(path.join(folder, into), output.join(""));
		return { status, error: errors.join("") };
	}

	const own = managing.filter(({ name }) => name.startsWith(`${page} `));
	test.each(own.map(({ name, text, lines }) => [name, text, lines] as const))("%s", async (_, text, lines) => {
		writeFileSync(path.join(folder, "shown.yaml"), text);
		for (const line of lines) {
			const { status, error } = await run(line);
			expect([line.words.join(" "), status, status === 0 ? "" : error]).toEqual([line.words.join(" "), 0, ""]);
		}
	});
});
