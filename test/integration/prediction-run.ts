/**
 * The same arrivals through the real gateway before the mock LLM, and through the simulator, compared request by request. For the test beside
 * this file and for `bench/prediction.ts`.
 *
 * Method: gateway and mock are processes of their own (as `tokligence start` and `tokligence mock-llm` make them), this process is an open loop of
 * clients. The gateway's clock cannot be scaled, so the mock's engine is `speed` times as fast and the simulator gets a profile whose steps
 * are as many times shorter: both see the same milliseconds. The wait is what the gateway says in `X-Queue-Wait-Ms`, whole milliseconds.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadConfig } from "../../src/config/load.ts";
import type { Millis } from "../../src/core/model/units.ts";
import { generateLoad, type LoadRequest } from "../../src/load/load-generator.ts";
import type { LedgerReport } from "../../src/load/mock-ledger.ts";
import type { EngineProfile, EngineProfileName } from "../../src/simulate/engine-profiles.ts";
import { simulateConfig } from "../../src/simulate/report.ts";
import { readScenario, scenarioArrivals } from "../../src/simulate/scenario.ts";
import type { NetworkDelay } from "../../src/simulate/simulation.ts";
import type { SimulatedArrival } from "../../src/simulate/workload.ts";
import { tokenHash } from "../../src/stores/token-secret.ts";
import type { ChildResult, ChildTask } from "./prediction-child.ts";

export interface PredictionOptions {
	readonly profile: EngineProfile;
	readonly speed: number;
	/** Of a configuration file; tokens and log level are added. */
	readonly ini: string;
	/** As `readScenario` takes it. */
	readonly scenario: unknown;
	/** `virtual`: in one process, whose time stands still while anything is going on. `real`: three processes, in the time of this machine. */
	readonly clock: "virtual" | "real";
	/** What the simulator is told of the time between gateway and engine. Default: nothing. */
	readonly network?: NetworkDelay;
	/** What the gateway did in an earlier run of the same arrivals, instead of a run now. */
	readonly real?: readonly RealRequest[];
	readonly onReal?: (requests: readonly RealRequest[]) => void;
}

/** What the gateway and the mock LLM say of a request; null when it was not answered. */
export type RealRequest = {
	/** In the queue. */
	readonly waitMs: Millis;
	/** From the gateway's decision to send it until the engine had it. */
	readonly toEngineMs: Millis;
	/** From the end of the engine's last step for it until the gateway had settled it. */
	readonly fromEngineMs: Millis;
} | null;

export interface TierComparison {
	readonly tier: string;
	readonly requests: number;
	readonly refused: { readonly real: number; readonly simulated: number };
	/** Milliseconds in the queue. */
	readonly p50: { readonly real: number; readonly simulated: number };
	readonly p99: { readonly real: number; readonly simulated: number };
	/** Median over the requests of | real − simulated |. */
	readonly medianDifferenceMs: number;
}

interface Seen {
	readonly waitMs: number | undefined;
}

const CLI = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const CHILD = fileURLToPath(new URL("prediction-child.ts", import.meta.url));

export function scaledProfile(profile: EngineProfile, speed: number): EngineProfile {
	return {
		...profile,
		stepBaseMs: profile.stepBaseMs / speed,
		stepMsPerSequence: profile.stepMsPerSequence / speed,
		stepMsPerContextToken: profile.stepMsPerContextToken / speed,
		prefillMsPerToken: profile.prefillMsPerToken / speed,
		prefillBaseMs: profile.prefillBaseMs / speed,
	};
}

/** Means over the requests of a run: what a simulation of another run may know. */
export function networkDelayOf(requests: readonly RealRequest[]): NetworkDelay {
	const answered = requests.filter((request) => request !== null);
	const mean = (of: (request: NonNullable<RealRequest>) => Millis) =>
		Math.max(0, answered.reduce((sum, request) => sum + of(request), 0) / answered.length);
	return { requestMs: mean(({ toEngineMs }) => toEngineMs), responseMs: mean(({ fromEngineMs }) => fromEngineMs) };
}

export async function comparePrediction(options: PredictionOptions): Promise<readonly TierComparison[]> {
	const arrivals = [...scenarioArrivals(readScenario(options.scenario), 1)];
	const simulated = simulateArrivals(options, arrivals);
	const served = options.real ?? (await serveArrivals(options, arrivals));
	options.onReal?.(served);
	const real = served.map((request) => ({ waitMs: request?.waitMs }));
	const tiers = new Map<string, number[]>();
	for (const [index, { metadata }] of arrivals.entries()) {
		const tier = metadata.accountId.replace(/-\d+$/, "");
		const list = tiers.get(tier) ?? [];
		list.push(index);
		tiers.set(tier, list);
	}
	return [...tiers].map(([tier, indices]) => {
		const waitsOf = (seen: readonly Seen[]) =>
			indices.flatMap((index) => seen[index]!.waitMs ?? []).sort((a, b) => a - b);
		const [realWaits, simulatedWaits] = [waitsOf(real), waitsOf(simulated)];
		const differences = indices.flatMap((index) => {
			const [one, other] = [real[index]!.waitMs, simulated[index]!.waitMs];
			return one === undefined || other === undefined ? [] : Math.abs(one - other);
		});
		const pair = (q: number) => ({ real: quantile(realWaits, q), simulated: quantile(simulatedWaits, q) });
		return {
			tier,
			requests: indices.length,
			refused: { real: indices.length - realWaits.length, simulated: indices.length - simulatedWaits.length },
			p50: pair(0.5),
			p99: pair(0.99),
			medianDifferenceMs: quantile(
				differences.sort((a, b) => a - b),
				0.5,
			),
		};
	});
}

function simulateArrivals(
	{ profile, speed, ini, network }: PredictionOptions,
	arrivals: readonly SimulatedArrival[],
): readonly Seen[] {
	const loaded = loadConfig({ text: ini, env: {} });
	if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
	const index = new Map(arrivals.map((arrival, at) => [arrival, at]));
	const seen: Seen[] = arrivals.map(() => ({ waitMs: undefined }));
	simulateConfig({
		name: "prediction",
		config: loaded.config,
		profile: scaledProfile(profile, speed),
		arrivals,
		...(network && { network }),
		onEnd: (arrival, { arrivalMs, dispatchedMs, finishedMs }) => {
			if (finishedMs === undefined) return;
			// Whole milliseconds, as the gateway says them.
			seen[index.get(arrival)!] = { waitMs: Math.round(dispatchedMs! - arrivalMs) };
		},
	});
	return seen;
}

async function serveArrivals(
	options: PredictionOptions,
	arrivals: readonly SimulatedArrival[],
): Promise<readonly RealRequest[]> {
	const folder = mkdtempSync(join(tmpdir(), "prediction-"));
	try {
		const tokens = new Map(arrivals.map(({ metadata }) => [metadata.accountId, metadata]));
		const rows = [...tokens.values()].map(({ accountId, tier, environment = "", workload = "" }) =>
			[tokenHash(`sk-${accountId}`), accountId, tier, environment, workload].join(","),
		);
		writeFileSync(join(folder, "tokens.csv"), `${rows.join("\n")}\n`);
		const config = join(folder, "gateway.ini");
		writeFileSync(
			config,
			`${options.ini}\n[classifier.token]\nfile = ${join(folder, "tokens.csv")}\n[observability]\nlog_level = silent\n`,
		);
		const serve = options.clock === "real" ? serveInRealTime : serveInVirtualTime;
		const { ids, produced } = await serve(options, config, folder, arrivals.map(requestOf));
		return compareLedgers(ids, produced, await settledRows(config, folder));
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

async function serveInVirtualTime(
	{ profile, speed }: PredictionOptions,
	config: string,
	folder: string,
	requests: readonly LoadRequest[],
): Promise<ChildResult> {
	const [taskFile, resultFile] = [join(folder, "task.json"), join(folder, "result.json")];
	const task = { config, folder, profile: profile.name as EngineProfileName, speed, requests } satisfies ChildTask;
	writeFileSync(taskFile, JSON.stringify(task));
	const child = spawn(process.execPath, [CHILD, taskFile, resultFile], { stdio: ["ignore", "inherit", "inherit"] });
	const [code] = await once(child, "exit");
	if (code !== 0) throw new Error(`the run in virtual time ended with ${code}`);
	return JSON.parse(readFileSync(resultFile, "utf8")) as ChildResult;
}

async function serveInRealTime(
	{ profile, speed }: PredictionOptions,
	config: string,
	folder: string,
	requests: readonly LoadRequest[],
): Promise<ChildResult> {
	const children: ChildProcess[] = [];
	try {
		const mock = await ready(
			children,
			...["mock-llm", "--port", "0", "--json", "--profile", profile.name, "--speed", String(speed)],
		);
		const gateway = await ready(
			children,
			...["start", "--config", config, "--upstream", mock, "--data-dir", folder, "--port", "0", "--admin-port", "0"],
			"--json",
		);
		const ids: (string | null)[] = requests.map(() => null);
		await generateLoad({
			baseUrl: gateway,
			maxInFlight: requests.length,
			requests,
			onResult: ({ tier: index, status, headers }) => {
				if (status === 200) ids[Number(index)] = String(headers["x-request-id"]);
			},
		});
		const { requests: produced } = (await (await fetch(`${mock}/mock/ledger`)).json()) as LedgerReport;
		const gatewayProcess = children[1]!;
		const gone = once(gatewayProcess, "exit");
		gatewayProcess.kill("SIGTERM");
		await gone;
		return { ids, produced };
	} finally {
		for (const child of children) child.kill("SIGKILL");
	}
}

interface SettledRow {
	readonly request_id: string;
	readonly wait_ms: number;
	readonly duration_ms: number;
	readonly started_at: string;
}

async function settledRows(config: string, folder: string): Promise<readonly SettledRow[]> {
	const { stdout } = await promisify(execFile)(
		process.execPath,
		[CLI, "usage", "--requests", "--json", "--config", config, "--data-dir", folder],
		{ maxBuffer: 1e9 },
	);
	return (JSON.parse(stdout) as { readonly requests: readonly SettledRow[] }).requests;
}

function compareLedgers(
	ids: readonly (string | null)[],
	produced: LedgerReport["requests"],
	settled: readonly SettledRow[],
): readonly RealRequest[] {
	const producedOf = new Map(produced.map((entry) => [entry.request_id, entry]));
	const settledOf = new Map(settled.map((row) => [row.request_id, row]));
	return ids.map((id) => {
		if (id === null) return null;
		const { submitted_at, finished_at } = producedOf.get(id)!;
		const { wait_ms: waitMs, duration_ms, started_at } = settledOf.get(id)!;
		const startedAt = Date.parse(started_at);
		return {
			waitMs,
			toEngineMs: submitted_at! - startedAt - waitMs,
			fromEngineMs: startedAt + duration_ms - finished_at!,
		};
	});
}

function requestOf(arrival: SimulatedArrival, index: number): LoadRequest {
	const { arrivalMs, metadata, promptTokens, outputTokens, stream } = arrival;
	return {
		// Not at once: the gateway's first requests find cold code.
		atMs: arrivalMs + 1000,
		tier: String(index),
		path: "/v1/chat/completions",
		headers: {
			authorization: `Bearer sk-${metadata.accountId}`,
			"x-mock-output-tokens": String(outputTokens),
		},
		body: JSON.stringify({
			model: "mock",
			stream,
			messages: [{ role: "user", content: `${index} `.padEnd(promptTokens * 4, "word ") }],
		}),
	};
}

/** Starts one of our commands; answers the address of its ready line. */
function ready(children: ChildProcess[], ...args: readonly string[]): Promise<string> {
	const child = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "inherit"] });
	children.push(child);
	return new Promise((resolve, reject) => {
		createInterface({ input: child.stdout! }).on("line", (line) => {
			if (line.includes('"event":"ready"')) resolve((JSON.parse(line) as { data: string }).data);
		});
		child.once("exit", (code) => reject(new Error(`${args[0]} ended with ${code}`)));
	});
}

function quantile(sorted: readonly number[], q: number): number {
	return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
}
