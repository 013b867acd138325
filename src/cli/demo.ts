/**
 * `tokligence demo`: a gateway before one simulated LLM and the same LLM without a gateway, under the same traffic at the same
 * time; a live view, then per-tier time to first token side by side. Every part runs as a process of its own, through the same
 * commands that anyone would type.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { styleText } from "node:util";
import { Command, InvalidArgumentError, Option } from "commander";
import { type DemoReport, DemoTally } from "../load/demo-report.ts";
import { DEMO_TIERS, demoPhase, demoTraffic } from "../load/demo-traffic.ts";
import { generateLoad, type LoadResult } from "../load/load-generator.ts";

/** A clock this late says more about the machine than about scheduling. */
const LATE_MS = 250;
const NANOS_PER_MILLI = 1e6;
const SPEED = "2";
const PROFILE = "a100-8b";
const CONFIG = `# Written by tokligence demo.
[request_scheduler]
classifier = hybrid
allocator = priority
scheduler = hybrid

[classifier.header]
enabled = true
trusted_cidrs = 127.0.0.0/8, ::1/128
require_token = false

[capacity]
# Slots of the simulated engine.
max_concurrent = 128
`;

interface DemoFlags {
	readonly duration: number;
	readonly seed: number;
	readonly json?: boolean;
}

export function demoCommand(): Command {
	return new Command("demo")
		.description(
			"watch production keep its latency while batch floods in: gateway, simulated LLM and traffic, nothing else needed",
		)
		.addOption(
			new Option("--duration <time>", "how long the traffic lasts: 20s, 1m").argParser(duration).default(30_000, "30s"),
		)
		.option("--seed <n>", "seed of the traffic", Number, 1)
		.option("--json", "print only the result, as JSON")
		.addHelpText("after", "\nExamples:\n  tokligence demo\n  tokligence demo --duration 20s --json")
		.action(async (flags: DemoFlags) => {
			const clock = monitorEventLoopDelay();
			clock.enable();
			const result = await runDemo(flags);
			clock.disable();
			const lateMs = Math.round(clock.percentile(99) / NANOS_PER_MILLI);
			if (lateMs > LATE_MS) {
				console.error(
					`warning: this machine is too busy for the demo (its clients' own clock was up to ${lateMs} ms late): run it again when it is idle`,
				);
			}
			if (flags.json === true) console.log(JSON.stringify(result));
			else console.log(comparison(result.scheduled, result.unscheduled));
		});
}

interface DemoResult {
	readonly scheduled: DemoReport;
	readonly unscheduled: DemoReport;
}

async function runDemo(flags: DemoFlags): Promise<DemoResult> {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-demo-"));
	const children: ChildProcess[] = [];
	const stop = () => {
		for (const child of children) child.kill("SIGKILL");
		rmSync(folder, { recursive: true, force: true });
	};
	const interrupted = () => {
		stop();
		process.exit(130);
	};
	process.once("SIGINT", interrupted);
	process.once("SIGTERM", interrupted);
	try {
		const mock = ["mock-llm", "--port", "0", "--profile", PROFILE, "--speed", SPEED, "--json"];
		const [behind, alone] = await Promise.all([startChild(children, mock), startChild(children, mock)]);
		const config = join(folder, "gateway.ini");
		writeFileSync(config, CONFIG);
		const start = [
			"start",
			"--config",
			config,
			"--upstream",
			behind.data,
			"--data-dir",
			folder,
			"--port",
			"0",
			"--admin-port",
			"0",
			"--json",
		];
		const gateway = await startChild(children, start);
		if (flags.json !== true) {
			console.log(
				`gateway ${gateway.data}, admin ${gateway.admin}, simulated LLM ${behind.data}; traffic for ${flags.duration / 1000} s\n`,
			);
		}
		const live = flags.json === true ? undefined : new LiveView(flags.duration);
		const [scheduled, unscheduled] = await Promise.all([
			drive(gateway.data, behind.data, flags, (result) => live?.scheduled(result)),
			drive(alone.data, alone.data, flags, (result) => live?.unscheduled(result)),
			live?.run(gateway.admin),
		]);
		return { scheduled, unscheduled };
	} finally {
		process.off("SIGINT", interrupted);
		process.off("SIGTERM", interrupted);
		stop();
	}
}

interface ReadyLine {
	readonly data: string;
	readonly admin: string;
}

/** Starts one of our own commands and waits for its ready line. */
function startChild(children: ChildProcess[], args: readonly string[]): Promise<ReadyLine> {
	const child = spawn(process.execPath, [process.argv[1]!, ...args], { stdio: ["ignore", "pipe", "pipe"] });
	children.push(child);
	let errors = "";
	child.stderr!.on("data", (chunk: Buffer) => {
		errors = (errors + chunk.toString()).slice(-2000);
	});
	return new Promise((resolve, reject) => {
		createInterface({ input: child.stdout! }).on("line", (line) => {
			if (line.includes('"event":"ready"')) resolve(JSON.parse(line) as ReadyLine);
		});
		child.once("exit", (code) =>
			reject(new Error(`${args[0]} ended with ${code} before it was ready: ${errors.trim()}`)),
		);
	});
}

/** Sends the traffic to `baseUrl`; throughput is what the engine at `engineUrl` says it worked through. */
async function drive(
	baseUrl: string,
	engineUrl: string,
	flags: DemoFlags,
	onResult: (result: LoadResult) => void,
): Promise<DemoReport> {
	const tally = new DemoTally();
	const end = new AbortController();
	const run = generateLoad({
		baseUrl,
		requests: demoTraffic(flags.duration, flags.seed),
		maxInFlight: 20_000,
		signal: end.signal,
		onResult: (result) => {
			tally.add(result, flags.duration);
			onResult(result);
		},
	});
	await delay(flags.duration);
	const tokens = await engineTokens(engineUrl);
	end.abort();
	await run;
	return tally.report(tokens / (flags.duration / 1000));
}

async function engineTokens(url: string): Promise<number> {
	const text = await (await fetch(`${url}/metrics`)).text();
	let tokens = 0;
	for (const line of text.split("\n")) {
		if (/^vllm:(prompt|generation)_tokens_total[ {]/.test(line))
			tokens += Number(line.slice(line.lastIndexOf(" ") + 1));
	}
	return tokens;
}

/** One line a second: phase, what waits, who was served and refused since the last line. */
class LiveView {
	readonly #duration: number;
	readonly #with = new Map<string, number[]>();
	readonly #without = new Map<string, number[]>();
	#refused = 0;

	constructor(duration: number) {
		this.#duration = duration;
	}

	scheduled(result: LoadResult): void {
		if (result.status >= 400) this.#refused++;
		else sample(this.#with, result);
	}

	unscheduled(result: LoadResult): void {
		sample(this.#without, result);
	}

	async run(admin: string): Promise<void> {
		const started = performance.now();
		for (let second = 1; second * 1000 < this.#duration; second++) {
			await delay(started + second * 1000 - performance.now());
			const depth = await queueDepths(admin);
			const phase = demoPhase(second * 1000, this.#duration).padEnd(13);
			console.log(
				`${String(second).padStart(3)} s ${styleText("bold", phase)} waiting ${depth.padEnd(34)} production TTFT ${styleText("green", latest(this.#with))} with, ${styleText("red", latest(this.#without))} without; refused ${this.#refused}`,
			);
		}
	}
}

function sample(into: Map<string, number[]>, result: LoadResult): void {
	if (result.tier !== "production" || !Number.isFinite(result.ttftMs)) return;
	const samples = into.get(result.tier) ?? [];
	samples.push(result.ttftMs);
	into.set(result.tier, samples.slice(-20));
}

function latest(samples: ReadonlyMap<string, readonly number[]>): string {
	const recent = samples.get("production") ?? [];
	return recent.length === 0 ? "     –" : `${Math.round(Math.max(...recent))} ms`.padStart(8);
}

async function queueDepths(admin: string): Promise<string> {
	const response = await fetch(`${admin}/metrics`).catch(() => undefined);
	const text = response?.ok === true ? await response.text() : "";
	const depths: string[] = [];
	for (const line of text.split("\n")) {
		const match = /^tokligence_scheduler_queue_depth\{.*priority="(\d+)".*\} (\d+)/.exec(line);
		if (match !== null) depths.push(`P${match[1]} ${match[2]}`);
	}
	return depths.join("  ");
}

function comparison(scheduled: DemoReport, unscheduled: DemoReport): string {
	const lines = [
		"",
		"Time to first token in ms, the same traffic on the same engine:",
		"",
		`${"tier".padEnd(12)}${"with P50".padStart(10)}${"P99".padStart(9)}${"without P50".padStart(14)}${"P99".padStart(9)}${"served".padStart(9)}${"without".padStart(9)}${"refused".padStart(9)}`,
	];
	for (const { name } of DEMO_TIERS) {
		const w = scheduled.tiers[name];
		const u = unscheduled.tiers[name];
		if (w === undefined || u === undefined) continue;
		lines.push(
			`${name.padEnd(12)}${w.ttft_ms.p50.toFixed(0).padStart(10)}${w.ttft_ms.p99.toFixed(0).padStart(9)}${u.ttft_ms.p50.toFixed(0).padStart(14)}${u.ttft_ms.p99.toFixed(0).padStart(9)}${String(w.served).padStart(9)}${String(u.served).padStart(9)}${String(w.refused).padStart(9)}  ${Object.entries(
				w.refusals,
			)
				.map(([code, count]) => `${code} ${count}`)
				.join(", ")}`,
		);
	}
	const ratio = scheduled.tokens_per_second / unscheduled.tokens_per_second;
	lines.push(
		"",
		`tokens/s: ${scheduled.tokens_per_second} with, ${unscheduled.tokens_per_second} without (${(ratio * 100).toFixed(1)} %). A request that had no first token by the end counts with the time it had waited.`,
	);
	return lines.join("\n");
}

function duration(text: string): number {
	const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
	if (match === null) throw new InvalidArgumentError("a duration like 20s or 1m is wanted");
	return Number(match[1]) * (match[2] === "ms" ? 1 : match[2] === "m" ? 60_000 : 1000);
}
