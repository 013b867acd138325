/**
 * The frontier through real processes: production's time to first token and the engine's throughput, with the engine behind nothing
 * (pass-through: its own FIFO), behind HAProxy's priority queue, and behind the gateway; the simulator's prediction for the same beside them.
 *
 * Method: the mock LLM (real sockets, `--speed` times as fast as the profile), one front at a time in a process of its own. Production
 * arrives as a Poisson stream (0.75 requests/s of engine time, prompt lognormal median 490, answer median 134, streamed, open loop) beside
 * batch work that never lets up (735 / 270, not streamed, `4 × slots` workers that send the next request when one is answered). All
 * fronts get the same requests of the same seed. HAProxy and the gateway know the slots of the engine (`maxconn`, `max_concurrent`);
 * the gateway also knows its cache (`max_inflight_tokens`), which HAProxy cannot count. Times are in engine time (measured × speed), after
 * a warm-up; tokens/s is what the engine counted. The simulator's rows come from `frontier-scenario.ts`. One run per front: P99 of some
 * hundred requests says what order it is, not its third digit. HAProxy is left out, loudly, when it is not installed.
 *
 * Usage: npm run build && node bench/frontier-live.ts [--profile a100-8b,a10g-7b] [--speed 5] [--seconds 60] [--quick]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { generateLoad, type LoadRequest } from "../src/load/load-generator.ts";
import { ENGINE_PROFILES, type EngineProfile, type EngineProfileName } from "../src/simulate/engine-profiles.ts";
import { Random } from "../src/simulate/random.ts";
import { freePort } from "./free-port.ts";
import {
	BATCH,
	lengths,
	MEAN_GAP_MS,
	PREEMPTION,
	PRODUCTION,
	quantile,
	type Shape,
	simulateSetting,
} from "./frontier-scenario.ts";

const { values } = parseArgs({
	options: {
		profile: { type: "string", default: "a100-8b,a10g-7b" },
		speed: { type: "string", default: "5" },
		seconds: { type: "string", default: "60" },
		quick: { type: "boolean", default: false },
	},
});
const SPEED = Number(values.speed);
/** Of wall clock, per front. */
const RUN_MS = values.quick ? 15_000 : Number(values.seconds) * 1000;
const WARM_UP_MS = RUN_MS / 6;
const SEED = 7;
const WORKERS_PER_SLOT = 4;
const TENANTS = 4;
const READY_LIMIT_MS = 20_000;
const PATH = "/v1/chat/completions";
const bin = fileURLToPath(new URL("../bin/tokligence.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tokligence-frontier-"));
const children: ChildProcess[] = [];

interface Row {
	readonly front: string;
	readonly p50: number;
	readonly p99: number;
	readonly tokensPerSec: number;
	readonly note?: string;
}

try {
	if (!existsSync(fileURLToPath(new URL("../dist/cli/main.js", import.meta.url))))
		throw new Error("dist is missing: run `npm run build` first");
	for (const name of values.profile.split(",") as EngineProfileName[]) await compare(ENGINE_PROFILES[name]);
} finally {
	await Promise.all(children.map(ended));
	rmSync(folder, { recursive: true, force: true });
}

async function compare(profile: EngineProfile): Promise<void> {
	console.log(
		`\n${profile.name}, ${SPEED} times as fast, ${RUN_MS / 1000} s per front; milliseconds of engine time\n` +
			`${"front".padEnd(44)}${"P50".padStart(9)}${"P99".padStart(9)}${"tokens/s".padStart(10)}`,
	);
	const simulated = (label: string, more: Partial<Parameters<typeof simulateSetting>[0]>): Row => {
		const base = { label, profile, limit: profile.slots, headroom: 0.03, window: "auto" as const };
		return { front: `${label} (simulated)`, ...simulateSetting({ ...base, ...more }, values.quick ? 1 : 3) };
	};
	const OFF = Number.POSITIVE_INFINITY;
	print(simulated("oracle: instant admission", { mode: "oracle", headroom: 0 }));
	print(simulated("pass-through", { mode: "fifo", headroom: 0, window: OFF }));
	print(await measured("pass-through", profile, async (upstream) => ({ url: upstream })));
	const haproxyBinary = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].find((path) => existsSync(path));
	if (haproxyBinary === undefined) console.log("SKIPPED: HAProxy is not installed (apt-get install haproxy)");
	else
		print(
			await measured("HAProxy set-priority-class", profile, (upstream) => haproxy(haproxyBinary, upstream, profile)),
		);
	print(simulated("gateway, strict, headroom 3 %", {}));
	print(await measured("gateway, strict, headroom 3 %", profile, (upstream) => gateway(upstream, profile, "")));
	const preempting = "[preemption]\nenabled = true\nmax_preemptions_per_request = 4\n";
	const preemption = { ...PREEMPTION, maxPerRequest: 4 };
	print(simulated("gateway, with preemption", { preemption, headroom: 0.1 }));
	const label = "gateway, with preemption, headroom 10 %";
	print(await measured(label, profile, (upstream) => gateway(upstream, profile, `${preempting}`, 0.1)));
}

function print({ front, p50, p99, tokensPerSec, note }: Row): void {
	console.log(
		`${front.padEnd(44)}${p50.toFixed(0).padStart(9)}${p99.toFixed(0).padStart(9)}${tokensPerSec.toFixed(0).padStart(10)}${note === undefined ? "" : `  ${note}`}`,
	);
}

/** One run: the engine, the front that `open` puts before it, both loads. */
async function measured(
	front: string,
	profile: EngineProfile,
	open: (upstream: string) => Promise<{ readonly url: string; readonly child?: ChildProcess }>,
): Promise<Row> {
	const mock = await startedBy([
		bin,
		"mock-llm",
		"--profile",
		profile.name,
		"--speed",
		String(SPEED),
		"--port",
		"0",
		"--json",
	]);
	const { url, child } = await open(mock.url);
	const ttft: number[] = [];
	let failed = 0;
	const stop = new AbortController();
	const batch = batchLoad(url, profile.slots * WORKERS_PER_SLOT, stop.signal);
	const before = delay(WARM_UP_MS).then(() => tokensOf(mock.url));
	const production = generateLoad({
		baseUrl: url,
		requests: productionRequests(),
		onResult: (result) => {
			if (result.status !== 200) failed++;
			else if (result.atMs >= WARM_UP_MS) ttft.push(result.ttftMs * SPEED);
		},
	});
	await delay(RUN_MS);
	const tokens = (await tokensOf(mock.url)) - (await before);
	// What is still on its way counts with the time it has waited at the end.
	await Promise.race([production, delay(Math.min(RUN_MS, 30_000))]);
	stop.abort();
	await batch;
	await Promise.all([child, mock.child].map((one) => (one === undefined ? undefined : ended(one))));
	await production.catch(() => undefined);
	ttft.sort((a, b) => a - b);
	return {
		front,
		p50: quantile(ttft, 0.5),
		p99: quantile(ttft, 0.99),
		tokensPerSec: tokens / ((RUN_MS - WARM_UP_MS) / 1000) / SPEED,
		...(failed === 0 ? {} : { note: `${failed} production requests failed` }),
	};
}

function* productionRequests(): Generator<LoadRequest> {
	const random = new Random(SEED);
	for (let at = random.exponential(MEAN_GAP_MS); at / SPEED < RUN_MS; at += random.exponential(MEAN_GAP_MS)) {
		const { body, output } = requestOf(random, PRODUCTION, true);
		yield {
			atMs: at / SPEED,
			tier: "production",
			path: PATH,
			body,
			headers: headersOf("production", "production", output),
		};
	}
}

/** Workers of several tenants, each with one request at a time. Resolves when `signal` ends them. */
async function batchLoad(url: string, workers: number, signal: AbortSignal): Promise<void> {
	const pool = new Pool(url, { connections: workers, headersTimeout: 0, bodyTimeout: 0 });
	const random = new Random(SEED + 1);
	const work = async (tenant: number) => {
		while (!signal.aborted) {
			const { body, output } = requestOf(random, BATCH, false);
			const headers = { "content-type": "application/json", ...headersOf("dev", `batch-${tenant}`, output) };
			try {
				const answer = await pool.request({ path: PATH, method: "POST", headers, body, signal });
				await answer.body.dump();
				if (answer.statusCode >= 400) await delay(100);
			} catch {
				// A front that broke off is asked again; the end of the run ends this loop.
				if (!signal.aborted) await delay(100);
			}
		}
	};
	await Promise.all(Array.from({ length: workers }, (_, index) => work(index % TENANTS)));
	await pool.destroy();
}

function requestOf(random: Random, shape: Shape, stream: boolean): { readonly body: string; readonly output: number } {
	const output = lengths(random, shape.output, shape.largestOutput);
	const prompt = lengths(random, shape.prompt, shape.largestPrompt);
	// Four characters to a token, as the mock LLM counts.
	const messages = [{ role: "user", content: "word".repeat(prompt) }];
	return { output, body: JSON.stringify({ model: "mock-model", stream, max_tokens: output, messages }) };
}

function headersOf(environment: string, tenant: string, output: number): Record<string, string> {
	return {
		"x-tgw-source": "internal",
		"x-tgw-environment": environment,
		...(environment === "production" ? {} : { "x-tgw-workload": "batch" }),
		"x-tenant": tenant,
		"x-mock-output-tokens": String(output),
	};
}

/** Tokens that the engine has read and written so far. */
async function tokensOf(mock: string): Promise<number> {
	const text = await (await fetch(`${mock}/metrics`)).text();
	let sum = 0;
	for (const match of text.matchAll(/^vllm:(?:prompt|generation)_tokens_total(?:\{[^}]*\})? (\S+)$/gm))
		sum += Number(match[1]);
	return sum;
}

// --- fronts

async function gateway(upstream: string, profile: EngineProfile, more: string, headroom = 0.03) {
	const config = join(folder, "gateway.ini");
	writeFileSync(
		config,
		`[request_scheduler]\nallocator = priority\nscheduler = strict\nmax_waiting = 100000
[classifier.header]\ntrusted_cidrs = 127.0.0.1/32\n[classifier.default]\nenabled = true
[observability]\nlog_level = error
[capacity]\nmax_concurrent = ${profile.slots}\nmax_inflight_tokens = ${profile.kvTokens}\nheadroom = ${headroom}\n${more}`,
	);
	const data = join(folder, `data-${Math.random().toString(36).slice(2)}`);
	const flags = ["--config", config, "--upstream", upstream, "--data-dir", data];
	return startedBy([bin, "start", ...flags, "--port", "0", "--admin-port", "0", "--json"]);
}

async function haproxy(binary: string, upstream: string, profile: EngineProfile) {
	const port = await freePort();
	const config = join(folder, "haproxy.cfg");
	writeFileSync(
		config,
		`global\n maxconn 8000\ndefaults\n mode http\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n timeout queue 600s
frontend clients\n bind 127.0.0.1:${port}\n http-request set-priority-class int(-10) if { req.hdr(x-tgw-environment) production }
 default_backend engine\nbackend engine\n server one ${new URL(upstream).host} maxconn ${profile.slots}\n`,
	);
	const child = spawn(binary, ["-f", config, "-db"], { stdio: ["ignore", "ignore", "inherit"] });
	children.push(child);
	const url = `http://127.0.0.1:${port}`;
	for (const limit = Date.now() + READY_LIMIT_MS; Date.now() < limit; await delay(50)) {
		if (
			await fetch(`${url}/v1/models`).then(
				(answer) => answer.ok,
				() => false,
			)
		)
			return { url, child };
	}
	throw new Error("HAProxy did not start");
}

/** A child that prints its address as a JSON line. */
function startedBy(args: readonly string[]): Promise<{ readonly url: string; readonly child: ChildProcess }> {
	const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
	children.push(child);
	return new Promise((resolve, reject) => {
		createInterface({ input: child.stdout }).once("line", (line) => {
			const ready = JSON.parse(line) as { readonly data?: string; readonly url?: string };
			resolve({ url: (ready.data ?? ready.url)!, child });
		});
		child.once("exit", () => reject(new Error(`${args[1]} ended before it was ready`)));
	});
}

function ended(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
	return new Promise((resolve) => {
		const force = setTimeout(() => child.kill("SIGKILL"), 3000);
		child.once("exit", () => {
			clearTimeout(force);
			resolve();
		});
		child.kill();
	});
}

function delay(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}
