import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../config/load.ts";
import { startMockLlm } from "../load/mock-llm-server.ts";
import type { SimulationReport } from "../simulate/report.ts";
import { openTrace } from "../simulate/traces.ts";
import { benchmarkCommand } from "./benchmark.ts";
import type { CommandIo } from "./config-options.ts";
import { simulateCommand } from "./simulate.ts";

const TRACE = fileURLToPath(new URL("../../test/fixtures/traces/azure2023-conv-excerpt.csv", import.meta.url));
const CONFIG = `# mine
[request_scheduler]
allocator = bucket ; keep
[allocator.bucket]
bucket_count = 4
base_capacity_tps = 100
`;

async function run(make: (io: CommandIo) => Command, args: readonly string[]) {
	const said = { out: "", error: "", code: 0 };
	const io: CommandIo = {
		env: {},
		out: (text) => {
			said.out += `${text}\n`;
		},
		error: (text) => {
			said.error += `${text}\n`;
		},
		setExitCode: (code) => {
			said.code = code;
		},
	};
	await make(io).parseAsync(args, { from: "user" });
	return said;
}

function inFolder(text: string): string {
	const file = join(mkdtempSync(join(tmpdir(), "tools-")), "gateway.ini");
	writeFileSync(file, text);
	return file;
}

test("benchmark --apply writes what it reports, keeps the rest and the old text", async () => {
	const mock = await startMockLlm({ speed: 20 });
	onTestFinished(() => mock.close());
	const config = inFolder(CONFIG);
	const output = `${config}.json`;
	const flags = ["--endpoint", `${mock.url}/v1`, "--model", "mock", "--duration", "800ms"];
	const more = ["--workload-profile", "minimal", "--ttft-limit", "60s", "--output", output, "--json", "--apply"];
	const said = await run(benchmarkCommand, [...flags, ...more, "--config", config]);
	expect(said.code, said.error).toBe(0);
	const report = JSON.parse(readFileSync(output, "utf8"));
	expect(JSON.parse(said.out)).toEqual(report);
	const text = readFileSync(config, "utf8");
	expect(text).toContain("# mine\n");
	expect(text).toContain("allocator = bucket ; keep\n");
	expect(readFileSync(`${config}.bak`, "utf8")).toBe(CONFIG);
	const loaded = loadConfig({ path: config });
	if (!loaded.ok) throw new Error("the result does not load");
	expect(loaded.config.capacity.maxConcurrent).toBe(report.results.recommended_max_concurrent);
	expect(loaded.config.allocator.bucket.capacityBasis).toBe("total");
	const applied = loaded.config.allocator.bucket.baseCapacityTps!;
	expect(Math.abs(applied / report.results.recommended_safe_tps - 1)).toBeLessThan(0.001);
});

test("Ctrl-C ends a benchmark, and what was measured is in the file and on the screen", async () => {
	const mock = await startMockLlm({ speed: 20 });
	onTestFinished(() => mock.close());
	const output = join(mkdtempSync(join(tmpdir(), "tools-")), "report.json");
	const main = fileURLToPath(new URL("main.ts", import.meta.url));
	const flags = ["--endpoint", mock.url, "--model", "mock", "--duration", "30s", "--workload-profile", "minimal"];
	const child = spawn(process.execPath, [main, "benchmark", ...flags, "--output", output], {
		stdio: ["ignore", "pipe", "pipe"],
	});
	let said = "";
	child.stdout.on("data", (chunk: Buffer) => {
		said += chunk.toString();
	});
	let steps = 0;
	createInterface(child.stderr).on("line", () => {
		if (++steps === 3) child.kill("SIGINT");
	});
	expect(await once(child, "close")).toEqual([130, null]);
	const report = JSON.parse(readFileSync(output, "utf8"));
	expect(report.steps).toHaveLength(3);
	expect(report.results.max_tps).toBeGreaterThan(0);
	expect(report.results.p99_latency_ms).toBeGreaterThan(0);
	expect(said).toContain(`${report.results.max_rps} requests/s`);
});

test("benchmark replays a trace at its own times, and answers with lengths that are the trace's", async () => {
	const mock = await startMockLlm({ speed: 50 });
	onTestFinished(() => mock.close());
	const flags = ["--endpoint", mock.url, "--model", "mock", "--trace", TRACE, "--json"];
	const said = await run(benchmarkCommand, [...flags, "--replay", "50", "--duration", "60s"]);
	expect(said.code, said.error).toBe(0);
	const { steps, results, workload_profile, workload_distribution } = JSON.parse(said.out);
	expect(steps.map(({ phase }: { phase: string }) => phase)).toEqual(["replay"]);
	expect(workload_profile).toBe("azure2023-conv-excerpt.csv");
	const rows = [...openTrace(TRACE).requests()];
	expect(steps[0].sent).toBe(rows.length);
	const mean = rows.reduce((sum, { outputTokens }) => sum + outputTokens, 0) / rows.length;
	expect(Math.abs(workload_distribution.avg_completion_tokens / mean - 1)).toBeLessThan(0.05);
	expect(results.max_tps).toBe(steps[0].tps);
	expect((await run(benchmarkCommand, ["--endpoint", mock.url, "--model", "m", "--replay", "2"])).error).toContain(
		"--trace",
	);
});

test("benchmark names an endpoint that does not answer", async () => {
	const mock = await startMockLlm();
	await mock.close();
	const said = await run(benchmarkCommand, ["--endpoint", mock.url, "--model", "m", "--duration", "1s"]);
	expect(said).toMatchObject({ code: 1, out: "" });
	expect(said.error).toContain("ECONNREFUSED");
});

test("simulate prints two configurations as a table, as JSON, and as a page without outside parts", async () => {
	const config = inFolder(CONFIG.replace("= 100", "= 10000"));
	const html = `${config}.html`;
	const compare = inFolder("[capacity]\nmax_concurrent = 4\n");
	const flags = ["--config", config, "--compare", compare, "--trace", TRACE, "--speed-up", "5"];
	const table = await run(simulateCommand, [...flags, "--html", html]);
	expect(table.code, table.error).toBe(0);
	expect(table.out).toContain(`A: ${config}`);
	expect(table.out).toContain(`B: ${compare}`);
	const page = readFileSync(html, "utf8");
	expect(page.match(/<svg/g)!.length).toBeGreaterThanOrEqual(4);
	expect(page).not.toMatch(/(?:src|href)=|https?:/);
	const { runs } = JSON.parse((await run(simulateCommand, [...flags, "--json"])).out);
	expect(runs).toHaveLength(2);
	expect(runs[1].total.wait_ms.p99).not.toBe(runs[0].total.wait_ms.p99);
});

test("a scenario that comes along brings its engine, rules and configurations, and is listed", async () => {
	const listed = await run(simulateCommand, ["--scenarios"]);
	expect(listed.out).toContain("vtc-overload  ");
	const { runs } = JSON.parse((await run(simulateCommand, ["--scenario", "vtc-increase", "--json"])).out);
	expect(runs.map(({ config, engine_profile: engine }: Record<string, string>) => [config, engine])).toEqual([
		["fifo", "a10g-7b-vtc"],
		["fair", "a10g-7b-vtc"],
	]);
	expect(runs[1].total.served).toBe(runs[1].total.requests);
	const wrong = await run(simulateCommand, ["--scenario", "vtc-none"]);
	expect(wrong).toMatchObject({ code: 1, out: "" });
	expect(wrong.error).toContain("vtc-overload");
});

test("chat beside batch jobs keeps its time to the first token, and --only shows what it is without them", async () => {
	const p99 = async (...flags: string[]) => {
		const { runs } = JSON.parse(
			(await run(simulateCommand, ["--scenario", "batch-beside-chat", "--json", ...flags])).out,
		);
		return runs.map((one: SimulationReport) => {
			const group = (name: string) => one.tenants.find((tenant) => tenant.name === name);
			return { chat: group("chat")!.ttft_ms.p99, doneMs: group("job-3")?.last_finished_ms };
		});
	};
	const [open, gateway] = await p99();
	const [alone] = await p99("--only", "chat");
	expect(alone.doneMs).toBeUndefined();
	expect(open.chat).toBeGreaterThan(100 * alone.chat);
	expect(gateway.chat).toBeLessThan(1.36 * alone.chat);
	expect(gateway.doneMs).toBeLessThan(1.5 * open.doneMs);
	const wrong = await run(simulateCommand, ["--scenario", "batch-beside-chat", "--only", "chat,jobs"]);
	expect(wrong.error).toContain("--only jobs: the scenario has no tier of that name; it has chat, job-1, job-2, job-3");
});

test("simulate reads a scenario, and says what is wrong with one", async () => {
	const scenario = inFolder(
		"duration: 10s\ntiers:\n  - { name: chat, tier: premium, rate: 3, prompt: 100, output: 50 }\n",
	);
	const config = inFolder("");
	const said = await run(simulateCommand, ["--config", config, "--scenario", scenario, "--json"]);
	expect(JSON.parse(said.out).runs[0].tenants[0].name).toBe("chat");
	writeFileSync(scenario, "duration: never\ntiers: []\n");
	const wrong = await run(simulateCommand, ["--config", config, "--scenario", scenario]);
	expect(wrong).toMatchObject({ code: 1, out: "" });
	expect(wrong.error).toContain("duration");
	expect((await run(simulateCommand, ["--config", config])).error).toContain("--trace or --scenario");
});
