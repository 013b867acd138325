/**
 * The frontier in one table, simulated and through real processes: production's time to first token, the engine's throughput, its own
 * queue, and how the low tiers share the rest, behind nothing (pass-through: the engine's FIFO), HAProxy's priority queue, and the gateway.
 *
 * Method: production arrives as a Poisson stream (0.75 requests/s of engine time, prompt lognormal median 490, answer median 134, streamed,
 * open loop) beside batch work of level 4 (735 / 270), more than the engine takes; in the rows with two low tiers half of it is of
 * level 3 (weights 1 : 0.5). The gateway runs `hybrid` (level 0 strict, the rest by weight). Simulated rows: `frontier-scenario.ts`, 300 s, several seeds. Live rows: the mock LLM
 * (real sockets, `--speed` times as fast as the profile), one front at a time in a process of its own, low tiers as `4 × slots` workers that
 * send the next request when one is answered, the same requests of the same seed for every front. HAProxy and the gateway know the slots of
 * the engine (`maxconn`, `max_concurrent`), the gateway also its cache (`max_inflight_tokens`), which HAProxy cannot count: where
 * the cache is the smaller bound, a second HAProxy row has the best fixed `maxconn`. With preemption, `force_stream` shows the gateway what
 * each answer has produced. Times are in engine time (measured × speed).
 *
 * Columns: P50 and P99 of production's time to first token; P99 as a multiple of the instant-admission oracle (simulated, both kinds of rows);
 * tokens/s as a part of the best row of the same kind; mean number of requests waiting inside the engine; how far the low tiers' finished
 * work is off their weights (in a short run mostly chance); requests taken back. Then, simulated: the onset of a flood (its first 30 s) and batch prompts four times as long, with and
 * without the prefill window. Live: one run per front, so P99 of some hundred requests says what order it is, not its third digit.
 *
 * Usage: npm run build && node bench/frontier-live.ts [--profile a100-8b,a10g-7b] [--seconds 90] [--speed 4] [--seeds 6]
 *        [--simulated | --quick]     --quick: 15 s per front, one seed. HAProxy is left out, loudly, when it is not installed.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { generateLoad, type LoadRequest } from "../src/load/load-generator.ts";
import { ENGINE_PROFILES, type EngineProfile, type EngineProfileName } from "../src/simulate/engine-profiles.ts";
import { Random } from "../src/simulate/random.ts";
import { freePort } from "./free-port.ts";
import {
	BATCH,
	LOW_TIERS,
	lengths,
	MEAN_GAP_MS,
	type Outcome,
	PREEMPTION,
	PRODUCTION,
	quantile,
	type Setting,
	type Shape,
	serviceOf,
	shareError,
	simulateSetting,
} from "./frontier-scenario.ts";
import {
	delay,
	endAll,
	endProcess,
	haproxyBinary,
	needsBuild,
	type Started,
	startHaproxy,
	startProduct,
} from "./processes.ts";

const { values } = parseArgs({
	options: {
		profile: { type: "string", default: "a100-8b,h100-70b,a10g-7b" },
		speed: { type: "string" },
		seconds: { type: "string", default: "90" },
		seeds: { type: "string", default: "6" },
		simulated: { type: "boolean", default: false },
		quick: { type: "boolean", default: false },
	},
});
/** Of wall clock, per front. */
const RUN_MS = values.quick ? 15_000 : Number(values.seconds) * 1000;
const WARM_UP_MS = RUN_MS / 6;
const SEEDS = values.quick ? 1 : Number(values.seeds);
/** How many times as fast as the profile: what a machine adds counts so many times, and a small one cannot pass on more tokens. */
const DEFAULT_SPEED = 2;
/** `maxconn` at which HAProxy serves the profile best where slots are not what bounds it (the best fixed limit of `docs/decisions/0014`). */
const BEST_MAXCONN: Partial<Record<string, number>> = { "a10g-7b": 10 };
const SEED = 7;
const WORKERS_PER_SLOT = 4;
const QUEUE_SAMPLE_MS = 100;
const DRAIN_MS = 10_000;
const PATH = "/v1/chat/completions";
const OFF = Number.POSITIVE_INFINITY;
const folder = mkdtempSync(join(tmpdir(), "tokligence-frontier-"));

interface Row extends Outcome {
	readonly front: string;
	readonly kind: "simulated" | "live" | "oracle";
	readonly note?: string;
}

try {
	if (!values.simulated) needsBuild();
	console.log(`load average ${loadavg()[0]!.toFixed(1)}; ${SEEDS} seeds simulated; ${RUN_MS / 1000} s per live front`);
	for (const name of values.profile.split(",") as EngineProfileName[]) {
		await frontier(ENGINE_PROFILES[name]);
		windows(ENGINE_PROFILES[name]);
	}
} finally {
	await endAll();
	rmSync(folder, { recursive: true, force: true });
}

async function frontier(profile: EngineProfile): Promise<void> {
	const speed = Number(values.speed ?? DEFAULT_SPEED);
	const preemption = { ...PREEMPTION, maxPerRequest: 8 };
	const simulated = (front: string, more: Partial<Setting> = {}, kind: Row["kind"] = "simulated"): Row => {
		const base = { label: front, profile, limit: profile.slots, headroom: 0.03, window: "auto" as const };
		return { front, kind, ...simulateSetting({ ...base, scheduler: "hybrid", ...more }, SEEDS) };
	};
	const rows = [
		simulated("oracle: instant admission", { mode: "oracle", headroom: 0 }, "oracle"),
		simulated("pass-through", { mode: "fifo", headroom: 0, window: OFF }),
		simulated("gateway, headroom 0", { headroom: 0 }),
		simulated("gateway, headroom 3 %"),
		simulated("gateway, preemption", { preemption }),
		simulated("gateway, headroom 3 %, two low tiers", { twoTiers: true }),
		simulated("gateway, preemption, two low tiers", { twoTiers: true, preemption }),
	];
	if (!values.simulated) {
		const live = (front: string, open: (upstream: string) => Promise<Started>, twoTiers = false) =>
			measured(front, profile, speed, open, twoTiers);
		rows.push(await live("pass-through", async (url) => ({ url })));
		const binary = haproxyBinary();
		if (binary === undefined) console.log("SKIPPED: HAProxy is not installed (apt-get install haproxy)");
		for (const maxconn of [profile.slots, BEST_MAXCONN[profile.name]]) {
			if (binary === undefined || maxconn === undefined) continue;
			rows.push(await live(`HAProxy priority queue, maxconn ${maxconn}`, (url) => haproxy(binary, url, maxconn)));
		}
		rows.push(await live("gateway, headroom 0", (url) => gateway(url, profile, 0)));
		rows.push(await live("gateway, headroom 3 %", (url) => gateway(url, profile, 0.03)));
		// Where a cache is the bound; elsewhere headroom alone leaves nothing to take back.
		const preempting =
			"[provider.default]\nforce_stream = true\n[preemption]\nenabled = true\nmax_preemptions_per_request = 8\n";
		if (BEST_MAXCONN[profile.name] !== undefined)
			rows.push(await live("gateway, preemption", (url) => gateway(url, profile, 0.03, preempting)));
		const tiers = "gateway, headroom 3 %, two low tiers";
		rows.push(await live(tiers, (url) => gateway(url, profile, 0.03), true));
	}
	print(`${profile.name}${values.simulated ? "" : ` (live: ${speed} times as fast)`}`, rows);
}

/** What the prefill window is for, simulated. */
function windows(profile: EngineProfile): void {
	for (const more of [{ onset: true }, { promptScale: 4 }]) {
		const title = more.onset === true ? "onset of a flood" : "batch prompts × 4";
		const rows = (["oracle", "off", "auto"] as const).map((window): Row => {
			const oracle = window === "oracle";
			const front = oracle ? "oracle: instant admission" : `gateway, headroom 3 %, prefill window ${window}`;
			const setting: Setting = {
				label: front,
				profile,
				limit: profile.slots,
				headroom: oracle ? 0 : 0.03,
				window: window === "auto" ? "auto" : OFF,
				mode: oracle ? "oracle" : "scheduled",
				scheduler: "hybrid",
				...more,
			};
			return { front, kind: oracle ? "oracle" : "simulated", ...simulateSetting(setting, SEEDS) };
		});
		print(`${profile.name}, ${title}`, rows);
	}
}

function print(title: string, rows: readonly Row[]): void {
	const best = (kind: Row["kind"]) =>
		Math.max(...rows.filter((row) => row.kind === kind).map((row) => row.tokensPerSec));
	const oracle = rows.find((row) => row.kind === "oracle")!.p99;
	console.log(
		`\n${title}\n| front | kind | P50 ms | P99 ms | × oracle | of best | engine queue | share error | taken back |`,
	);
	console.log("|---|---|---|---|---|---|---|---|---|");
	for (const row of rows) {
		const ofBest = row.kind === "oracle" ? "–" : `${((row.tokensPerSec / best(row.kind)) * 100).toFixed(1)} %`;
		const share = Number.isNaN(row.shareError) ? "–" : `${(row.shareError * 100).toFixed(1)} %`;
		const cells = [
			row.note === undefined ? row.front : `${row.front} (${row.note})`,
			row.kind,
			row.p50.toFixed(0),
			row.p99.toFixed(0),
			(row.p99 / oracle).toFixed(2),
			ofBest,
			row.engineQueue.toFixed(2),
			share,
			String(row.preemptions),
		];
		console.log(`| ${cells.join(" | ")} |`);
	}
}

/** One run: the engine, the front that `open` puts before it, all loads. */
async function measured(
	front: string,
	profile: EngineProfile,
	speed: number,
	open: (upstream: string) => Promise<Started>,
	twoTiers: boolean,
): Promise<Row> {
	const mock = await startProduct([
		"mock-llm",
		"--profile",
		profile.name,
		"--speed",
		String(speed),
		"--port",
		"0",
		"--json",
	]);
	const { url, child } = await open(mock.url);
	const ttft: number[] = [];
	const costs = LOW_TIERS.map(() => 0);
	let failed = 0;
	const startedAt = performance.now();
	const counts = () => {
		const elapsed = performance.now() - startedAt;
		return elapsed >= WARM_UP_MS && elapsed < RUN_MS;
	};
	const stop = new AbortController();
	/** Of finished requests: what the engine did for those taken back is no throughput. */
	let tokens = 0;
	const low = lowLoad(url, profile.slots * WORKERS_PER_SLOT, twoTiers, stop.signal, (tier, prompt, output) => {
		if (!counts()) return;
		costs[tier]! += serviceOf(prompt, output);
		tokens += prompt + output;
	});
	const queue = { sum: 0, samples: 0 };
	const sampler = setInterval(async () => {
		const text = await metricsOf(mock.url);
		if (!counts()) return;
		queue.sum += metric(text, "vllm:num_requests_waiting");
		queue.samples++;
	}, QUEUE_SAMPLE_MS);
	const production = generateLoad({
		baseUrl: url,
		requests: productionRequests(speed),
		onResult: (result) => {
			const elapsed = performance.now() - startedAt;
			if (result.status === 200 && counts()) tokens += result.promptTokens + result.completionTokens;
			if (result.status !== 200 && elapsed < RUN_MS) failed++;
			// What never came has waited at least until the end.
			const ttftMs = Number.isNaN(result.ttftMs) ? elapsed - result.atMs : result.ttftMs;
			if (result.atMs >= WARM_UP_MS) ttft.push(ttftMs * speed);
		},
	});
	await delay(RUN_MS);
	clearInterval(sampler);
	const takenBack = metric(await metricsOf(mock.url), 'vllm:request_success_total{finished_reason="abort"');
	// What is still on its way counts with the time it has waited at the end.
	await Promise.race([production, delay(Math.min(RUN_MS, DRAIN_MS))]);
	stop.abort();
	await low;
	await Promise.all([child, mock.child].map(endProcess));
	await production.catch(() => undefined);
	ttft.sort((a, b) => a - b);
	return {
		front,
		kind: "live",
		p50: quantile(ttft, 0.5),
		p99: quantile(ttft, 0.99),
		tokensPerSec: tokens / ((RUN_MS - WARM_UP_MS) / 1000) / speed,
		engineQueue: queue.sum / queue.samples,
		preemptions: takenBack,
		shareError: twoTiers ? shareError(costs) : Number.NaN,
		...(failed === 0 ? {} : { note: `${failed} production requests failed` }),
	};
}

function* productionRequests(speed: number): Generator<LoadRequest> {
	const random = new Random(SEED);
	for (let at = random.exponential(MEAN_GAP_MS); at / speed < RUN_MS; at += random.exponential(MEAN_GAP_MS)) {
		const { body, output } = requestOf(random, PRODUCTION, true);
		const headers = {
			"x-tgw-source": "internal",
			"x-tgw-environment": "production",
			...mockHeaders("production", output),
		};
		yield { atMs: at / speed, tier: "production", path: PATH, body, headers };
	}
}

/** Workers of the low tiers, each with one request at a time. Resolves when `signal` ends them. */
async function lowLoad(
	url: string,
	workers: number,
	twoTiers: boolean,
	signal: AbortSignal,
	finished: (tier: number, prompt: number, output: number) => void,
): Promise<void> {
	const pool = new Pool(url, { connections: workers, headersTimeout: 0, bodyTimeout: 0 });
	const random = new Random(SEED + 1);
	const classes = [
		{ "x-tgw-source": "external" },
		{ "x-tgw-source": "internal", "x-tgw-environment": "dev", "x-tgw-workload": "batch" },
	];
	const work = async (worker: number) => {
		const tier = twoTiers ? worker % LOW_TIERS.length : LOW_TIERS.length - 1;
		while (!signal.aborted) {
			const { body, output, prompt } = requestOf(random, BATCH, false);
			const headers = {
				"content-type": "application/json",
				...classes[tier],
				...mockHeaders(`low-${worker % 4}`, output),
			};
			try {
				const answer = await pool.request({ path: PATH, method: "POST", headers, body, signal });
				await answer.body.dump();
				if (answer.statusCode >= 400) await delay(100);
				else finished(tier, prompt, output);
			} catch {
				// A front that broke off is asked again; the end of the run ends this loop.
				if (!signal.aborted) await delay(100);
			}
		}
	};
	await Promise.all(Array.from({ length: workers }, (_, index) => work(index)));
	await pool.destroy();
}

function requestOf(random: Random, shape: Shape, stream: boolean) {
	const output = lengths(random, shape.output, shape.largestOutput);
	const prompt = lengths(random, shape.prompt, shape.largestPrompt);
	// Four characters to a token, as the mock LLM counts.
	const messages = [{ role: "user", content: "word".repeat(prompt) }];
	const body = { model: "mock-model", stream, max_tokens: output, messages };
	return {
		output,
		prompt,
		body: JSON.stringify(stream ? { ...body, stream_options: { include_usage: true } } : body),
	};
}

function mockHeaders(tenant: string, output: number): Record<string, string> {
	return { "x-tenant": tenant, "x-mock-output-tokens": String(output) };
}

async function metricsOf(url: string): Promise<string> {
	return (await fetch(`${url}/metrics`)).text();
}

function metric(metrics: string, name: string): number {
	let sum = 0;
	for (const line of metrics.split("\n")) if (line.startsWith(name)) sum += Number(line.slice(line.lastIndexOf(" ")));
	return sum;
}

// --- fronts

async function gateway(upstream: string, profile: EngineProfile, headroom: number, more = ""): Promise<Started> {
	const config = join(folder, "gateway.ini");
	writeFileSync(
		config,
		`[request_scheduler]\nallocator = priority\nscheduler = hybrid\nmax_waiting = 100000
[classifier.header]\ntrusted_cidrs = 127.0.0.1/32\n[classifier.default]\nenabled = true
[observability]\nlog_level = error
[capacity]\nmax_concurrent = ${profile.slots}\nmax_inflight_tokens = ${profile.kvTokens}\nheadroom = ${headroom}
${more}`,
	);
	const data = join(folder, `data-${Math.random().toString(36).slice(2)}`);
	const flags = ["--config", config, "--upstream", upstream, "--data-dir", data];
	return startProduct(["start", ...flags, "--port", "0", "--admin-port", "0", "--json"]);
}

async function haproxy(binary: string, upstream: string, maxconn: number): Promise<Started> {
	const port = await freePort();
	const config = join(folder, "haproxy.cfg");
	writeFileSync(
		config,
		`global\n maxconn 8000\ndefaults\n mode http\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n timeout queue 600s
frontend clients\n bind 127.0.0.1:${port}\n http-request set-priority-class int(-10) if { req.hdr(x-tgw-environment) production }
 default_backend engine\nbackend engine\n server one ${new URL(upstream).host} maxconn ${maxconn}\n`,
	);
	return startHaproxy(binary, config, port, "/v1/models");
}
