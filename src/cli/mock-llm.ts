/**
 * `tokligence mock-llm`: an upstream that behaves like a continuous-batching engine, for demos and tests.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import type { Fault } from "../load/mock-fault.ts";
import { parseFault } from "../load/mock-fault.ts";
import { startMockLlm } from "../load/mock-llm-server.ts";
import type { EngineProfile } from "../simulate/engine-profiles.ts";
import { ENGINE_PROFILE_NAMES, findEngineProfile } from "../simulate/engine-profiles.ts";

interface MockLlmFlags {
	readonly port: number;
	readonly host: string;
	readonly profile: EngineProfile;
	readonly seed: number;
	readonly speed: number;
	readonly models?: readonly string[];
	readonly fault?: Fault;
	readonly faultRate: number;
	readonly json?: boolean;
}

const DEFAULT_PROFILE = "a100-8b";

export function mockLlmCommand(): Command {
	return new Command("mock-llm")
		.description(
			"run an LLM server without a model: OpenAI and Anthropic wire forms, the timing of a GPU, injected faults",
		)
		.option(
			"--port <port>",
			"port to listen on; 0 takes any free one",
			wholeNumber("a port from 0 to 65535", 65_535),
			8000,
		)
		.option("--host <address>", "address to listen on", "127.0.0.1")
		.addOption(
			new Option("--profile <name>", `engine profile: ${ENGINE_PROFILE_NAMES.join(", ")}`)
				.argParser(profileNamed)
				.default(profileNamed(DEFAULT_PROFILE), DEFAULT_PROFILE),
		)
		.option(
			"--seed <number>",
			"the same seed gives the same answers",
			wholeNumber("a whole number from 0", 0xffff_ffff),
			1,
		)
		.option("--speed <factor>", "10 runs ten times as fast as the real engine", positive, 1)
		.option("--models <names>", "comma-separated models to serve; without it every model is served", (value: string) =>
			value.split(",").map((name) => name.trim()),
		)
		.option(
			"--fault <spec>",
			"fault of every request, e.g. error:500, stall:after=3, cut:after=3, overload-200",
			faultOf,
		)
		.option("--fault-rate <share>", "share of the requests that suffer the fault, 0 to 1", share, 1)
		.option("--json", "print the ready line as JSON")
		.addHelpText(
			"after",
			`
Examples:
  tokligence mock-llm --port 8000 --profile a10g-7b --speed 10
  tokligence mock-llm --port 0 --json --fault cut:after=20 --fault-rate 0.05
  curl -s localhost:8000/mock/ledger        tokens produced, per request

Faults also by the header x-mock-fault: error:STATUS, 429, 503, stall:after=N, cut:after=N, slow-first-byte:MS,
overload-200[:tgi], garbage, no-usage, no-done; several joined with ";". The header x-mock-output-tokens: N sets the
length of an answer, x-mock-tool-call: 1 answers with a call of the first tool.

Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot listen.`,
		)
		.action(run);
}

async function run(flags: MockLlmFlags, command: Command): Promise<void> {
	const { json, ...options } = flags;
	let mock: Awaited<ReturnType<typeof startMockLlm>>;
	try {
		mock = await startMockLlm(options);
	} catch (error) {
		command.error(`mock-llm: cannot listen on ${flags.host}:${flags.port}: ${(error as Error).message}`);
	}
	const ready =
		json === true
			? JSON.stringify({ event: "ready", data: mock.url })
			: `mock LLM (${flags.profile.name}, speed ${flags.speed}) listens on ${mock.url}`;
	process.stdout.write(`${ready}\n`);
	await new Promise<void>((resolve) => {
		process.once("SIGTERM", resolve);
		process.once("SIGINT", resolve);
	});
	await mock.close();
}

function profileNamed(name: string): EngineProfile {
	const profile = findEngineProfile(name);
	if (profile === undefined) {
		throw new InvalidArgumentError(`"${name}" is no profile; allowed are ${ENGINE_PROFILE_NAMES.join(", ")}.`);
	}
	return profile;
}

function wholeNumber(what: string, most: number): (text: string) => number {
	return (text) => {
		const value = Number(text);
		if (!/^\d+$/.test(text) || value > most) throw new InvalidArgumentError(`"${text}" is not ${what}.`);
		return value;
	};
}

function positive(text: string): number {
	const value = Number(text);
	if (!(Number.isFinite(value) && value > 0)) throw new InvalidArgumentError(`"${text}" is not a number above 0.`);
	return value;
}

function share(text: string): number {
	const value = Number(text);
	if (text.trim() === "" || !(value >= 0 && value <= 1)) {
		throw new InvalidArgumentError(`"${text}" is not a number from 0 to 1.`);
	}
	return value;
}

function faultOf(text: string): Fault {
	const fault = parseFault(text);
	if (typeof fault === "string") throw new InvalidArgumentError(`${fault}.`);
	return fault;
}
