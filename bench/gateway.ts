/**
 * What the gateway adds to a request: CPU per request against the bare proxy, side by side in one run.
 *
 * Method: the upstream with a fixed answer (fixed-upstream.ts), the bare proxy (bare-proxy.ts), and each gateway are processes of their own;
 * this process sends 1 KB requests, 16 at a time over kept-alive connections. Rounds are interleaved (every subject once per round) after
 * a warm-up long enough for every subject's code to be compiled, JSON answers and streams of 50 events apart. CPU is the time that all threads of the
 * measured process ran (/proc/PID/task/TID/schedstat, nanoseconds, before and after) ÷ requests. Printed: median and range of the rounds in µs, and
 * the ratio of medians to the bare proxy's; the ratio is the result, machines differ. It needs a quiet machine: beside other work every switch between
 * processes costs caches, and whoever is slower is hit more.
 *
 * Then the time that each adds on an idle system: one request at a time, every subject and the upstream itself in turn, so that all meet the same
 * machine; printed are median and P99 of the time from sending to the end of the answer, and what is above the upstream's own.
 *
 * `everything on` is `tokligence start` as it comes: rules, scheduler, metrics, ledger with journal in a temporary folder; without tokens
 * (default classifier), with a token file of 100, and with a budget on the token's account besides. nginx and @portkey-ai/gateway are peers when they are installed, else it says so.
 * Linux only. Usage: npm run build && node bench/gateway.ts [--quick]
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";
import { freePort } from "./free-port.ts";

const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 1 : 7;
const REQUESTS = quick ? { json: 1000, stream: 100 } : { json: 3000, stream: 400 };
const WARM_UP = quick ? { json: 500, stream: 50 } : { json: 15_000, stream: 1500 };
const CONCURRENCY = 16;
const TURNS = quick ? 100 : 2000;
const READY_LIMIT_MS = 20_000;
const TOKENS = Array.from({ length: 100 }, (_, index) => `tok_external_${String(index).padStart(32, "b")}`);

type Kind = keyof typeof REQUESTS;

interface Subject {
	readonly name: string;
	readonly pool: Pool;
	readonly pid: number;
	readonly isPeer: boolean;
	readonly headers: Readonly<Record<string, string>>;
	readonly micros: Record<Kind, number[]>;
}

const children: ChildProcess[] = [];
const pools: Pool[] = [];
const folder = mkdtempSync(join(tmpdir(), "tokligence-bench-"));

try {
	const upstream = await startedBy([here("fixed-upstream.ts")]);
	const subjects = [subject("bare proxy", await startedBy([here("bare-proxy.ts"), upstream.url]))];
	const bin = here("../bin/tokligence.js");
	if (!existsSync(here("../dist/cli/main.js"))) throw new Error("dist is missing: run `npm run build` first");
	const gateway = (name: string, ini: string) => {
		const config = join(folder, `${name}.ini`);
		writeFileSync(config, ini);
		const flags = ["--config", config, "--upstream", upstream.url, "--data-dir", join(folder, name)];
		return startedBy([bin, "start", ...flags, "--port", "0", "--admin-port", "0", "--json"]);
	};
	const rows = TOKENS.map(
		(token, index) => `${createHash("sha256").update(token).digest("hex")},a${index % 10},external,,,`,
	);
	writeFileSync(join(folder, "tokens.csv"), `sha256,account_id,tier,environment,workload,name\n${rows.join("\n")}\n`);
	const withTokens = `[classifier.token]\nfile = ${join(folder, "tokens.csv")}\n[classifier.default]\nenabled = false\n`;
	const bearer = { authorization: `Bearer ${TOKENS[7]}` };
	subjects.push(subject("gateway, no token", await gateway("open", "")));
	subjects.push(subject("gateway, token file", await gateway("tokens", withTokens), bearer));
	const store = ["--data-dir", join(folder, "budget")];
	const account = [
		"account",
		"create",
		"--id",
		"a7",
		"--email",
		"a7@example.com",
		"--name",
		"a7",
		"--type",
		"external",
	];
	const budget = ["quota", "create", "--account", "a7", "--type", "hard", "--dimension", "tokens_per_day"];
	for (const command of [account, [...budget, "--limit", "1000000000000"]]) run([bin, ...command, ...store]);
	subjects.push(subject("token and budget", await gateway("budget", withTokens), bearer));
	const off = "[request_scheduler]\nenabled = false\n";
	subjects.push(subject("enabled = false", await gateway("disabled", `${off}${withTokens}`), bearer));
	subjects.push(...(await nginx(upstream.url)), ...(await portkey(upstream.url)));

	console.log(
		`${ROUNDS} interleaved rounds, concurrency ${CONCURRENCY}, 1 KB requests; CPU = time of all threads ÷ requests`,
	);
	for (const kind of ["json", "stream"] as const) {
		const taking: Subject[] = [];
		for (const one of subjects) {
			try {
				await load(one, kind, WARM_UP[kind]);
				taking.push(one);
			} catch (error) {
				// Ours must hold; a peer that breaks is left out, not the run.
				if (!one.isPeer) throw error;
				skipped(`${one.name}, ${kind}`, (error as Error).message);
			}
		}
		for (let round = 0; round < ROUNDS; round++) {
			for (const one of taking) {
				const before = cpuMicros(one.pid);
				await load(one, kind, REQUESTS[kind]);
				one.micros[kind].push((cpuMicros(one.pid) - before) / REQUESTS[kind]);
			}
		}
		report(kind, taking);
	}
	await addedWhenIdle([subject("upstream itself", upstream), ...subjects.filter(({ isPeer }) => !isPeer)]);
} finally {
	await Promise.all(pools.map((pool) => pool.destroy()));
	await Promise.all(children.map(ended));
	rmSync(folder, { recursive: true, force: true });
}

function report(kind: Kind, subjects: readonly Subject[]): void {
	const what = kind === "json" ? "JSON answers" : "streams of 50 events";
	console.log(`\n${what}: ${REQUESTS[kind]} per round`);
	const bare = median(subjects[0]!.micros[kind]);
	for (const { name, micros } of subjects) {
		const values = micros[kind];
		const range = `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)}`;
		const ratio = (median(values) / bare).toFixed(2);
		console.log(
			`  ${name.padEnd(20)} ${median(values).toFixed(0).padStart(6)} µs  (${range})`.padEnd(50),
			`${ratio} × bare`,
		);
	}
}

async function addedWhenIdle(subjects: readonly Subject[]): Promise<void> {
	const times = subjects.map((): number[] => []);
	for (let turn = 0; turn < TURNS; turn++) {
		for (const [index, one] of subjects.entries()) {
			const before = performance.now();
			await load(one, "json", 1);
			// The first ones open connections.
			if (turn >= TURNS / 10) times[index]!.push(performance.now() - before);
		}
	}
	console.log(`\nadded when idle: ${TURNS} requests each, one at a time`);
	const [own] = times;
	for (const [index, { name }] of subjects.entries()) {
		const at = (part: number) => quantile(times[index]!, part).toFixed(2);
		const added = (part: number) => (quantile(times[index]!, part) - quantile(own!, part)).toFixed(2);
		console.log(
			`  ${name.padEnd(20)} P50 ${at(0.5)} ms, P99 ${at(0.99)} ms   added: P50 ${added(0.5)} ms, P99 ${added(0.99)} ms`,
		);
	}
}

// --- subjects

function subject(
	name: string,
	{ url, pid }: { url: string; pid: number },
	headers: Record<string, string> = {},
	isPeer = false,
): Subject {
	const pool = new Pool(url, { connections: CONCURRENCY, headersTimeout: 30_000 });
	pools.push(pool);
	return {
		name,
		pool,
		pid,
		isPeer,
		headers: { "content-type": "application/json", ...headers },
		micros: { json: [], stream: [] },
	};
}

/** A command that must succeed. */
function run(args: readonly string[]): void {
	const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
	if (status !== 0) throw new Error(`${args.slice(1, 3).join(" ")} failed: ${stderr}`);
}

/** A Node child that prints its address as a JSON line. */
function startedBy(args: readonly string[]): Promise<{ url: string; pid: number }> {
	const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
	children.push(child);
	return new Promise((resolve, reject) => {
		createInterface({ input: child.stdout }).once("line", (line) =>
			resolve({ url: (JSON.parse(line) as { data: string }).data, pid: child.pid! }),
		);
		child.once("exit", () => reject(new Error(`${args[0]} ended before it was ready`)));
	});
}

async function nginx(upstream: string): Promise<Subject[]> {
	const binary = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx"].find((path) => existsSync(path));
	if (binary === undefined) return skipped("nginx", "it is not installed (apt-get install nginx-light)");
	const port = await freePort();
	const config = join(folder, "nginx.conf");
	const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
		.map((kind) => `${kind}_temp_path ${join(folder, `nginx-${kind}`)};`)
		.join(" ");
	// One process, so that its id is the one that works; no access log; events are passed on as they come.
	writeFileSync(
		config,
		`daemon off; master_process off; pid ${join(folder, "nginx.pid")}; error_log stderr crit;
events { worker_connections 256; }
http { access_log off; ${temporary}
 upstream fixed { server ${new URL(upstream).host}; keepalive 64; }
 server { listen 127.0.0.1:${port}; keepalive_requests 1000000; location / {
  proxy_pass http://fixed; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }\n`,
	);
	const child = spawn(binary, ["-c", config, "-p", folder], { stdio: ["ignore", "ignore", "inherit"] });
	return peer("nginx", child, port, {});
}

async function portkey(upstream: string): Promise<Subject[]> {
	const script = here("../node_modules/@portkey-ai/gateway/build/start-server.js");
	if (!existsSync(script)) return skipped("@portkey-ai/gateway", "it is not installed");
	const port = await freePort();
	const child = spawn(process.execPath, [script, `--port=${port}`, "--headless"], {
		// It prints a stack for every request that it fails; the answer tells as much.
		stdio: "ignore",
		env: { ...process.env, TRUSTED_CUSTOM_HOSTS: "127.0.0.1,localhost" },
	});
	const headers = {
		"x-portkey-provider": "openai",
		"x-portkey-custom-host": `${upstream}/v1`,
		authorization: "Bearer x",
	};
	return peer("@portkey-ai/gateway", child, port, headers);
}

/** Waits until the peer forwards a request well; one that does not is left out, with the reason. */
async function peer(
	name: string,
	child: ChildProcess,
	port: number,
	headers: Record<string, string>,
): Promise<Subject[]> {
	children.push(child);
	child.on("error", () => {});
	const made = subject(name, { url: `http://127.0.0.1:${port}`, pid: child.pid ?? -1 }, headers, true);
	let problem = "it did not start";
	for (const deadline = Date.now() + READY_LIMIT_MS; Date.now() < deadline && child.exitCode === null; ) {
		try {
			await load(made, "json", 1);
			return [made];
		} catch (error) {
			problem = (error as Error).message;
			await new Promise((resolve) => setTimeout(resolve, 200));
			if (problem.startsWith("status")) break;
		}
	}
	return skipped(name, problem);
}

function skipped(name: string, why: string): [] {
	console.log(`SKIPPED: ${name}: ${why}`);
	return [];
}

function ended(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
	return new Promise((resolve) => {
		const force = setTimeout(() => child.kill("SIGKILL"), 5000);
		child.once("exit", () => {
			clearTimeout(force);
			resolve();
		});
		child.kill();
	});
}

// --- load and measure

async function load({ name, pool, headers }: Subject, kind: Kind, count: number): Promise<void> {
	const content = "x".repeat(900);
	const body = JSON.stringify({
		model: "m",
		stream: kind === "stream",
		max_tokens: 50,
		messages: [{ role: "user", content }],
	});
	let left = count;
	const worker = async () => {
		while (left-- > 0) {
			const answer = await pool.request({ path: "/v1/chat/completions", method: "POST", headers, body });
			const text = await answer.body.text();
			if (answer.statusCode !== 200) left = 0;
			if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode} from ${name}: ${text.slice(0, 300)}`);
			const whole = kind === "json" ? text.endsWith("}") : text.includes("[DONE]");
			if (!whole) throw new Error(`${name} broke off its answer: ${text.slice(-100)}`);
		}
	};
	await Promise.all(Array.from({ length: Math.min(count, CONCURRENCY) }, worker));
}

/** Time that the threads of a process have run. */
function cpuMicros(pid: number): number {
	let nanos = 0;
	for (const thread of readdirSync(`/proc/${pid}/task`)) {
		try {
			nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
		} catch {
			// It ended meanwhile.
		}
	}
	return nanos / 1000;
}

function median(values: readonly number[]): number {
	return quantile(values, 0.5);
}

function quantile(values: readonly number[], part: number): number {
	return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))]!;
}

function here(path: string): string {
	return fileURLToPath(new URL(path, import.meta.url));
}
