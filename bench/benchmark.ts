/**
 * Does `tokligence benchmark` find what an engine can do? Against the mock LLM, whose capacity is known.
 *
 * Method: for each engine profile `tokligence mock-llm --speed S` and `tokligence benchmark` run as processes of their own, as a user
 * starts them; `max_tps` of the report is divided by S times what the engine model works through in virtual time when a hundred requests of
 * the same mix always wait (useful tokens: what was read again after a preemption counts once). The speed is chosen so that neither
 * process needs a whole core; where the machine cannot keep up, the mock is slower than its profile and the figure falls. The
 * limit on the time to first token is out of the way: it is the engine's limit that is compared.
 *
 * Usage: node bench/benchmark.ts [--duration 40s] [--mix minimal] [--profile NAME]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { BenchmarkReport } from "../src/load/benchmark-report.ts";
import { trueCapacity } from "../src/load/virtual-benchmark.ts";
import { findWorkloadProfile } from "../src/load/workload-profiles.ts";
import { ENGINE_PROFILE_NAMES, ENGINE_PROFILES, type EngineProfileName } from "../src/simulate/engine-profiles.ts";

const { values } = parseArgs({
	options: {
		duration: { type: "string", default: "40s" },
		mix: { type: "string", default: "minimal" },
		profile: { type: "string" },
	},
});
const SPEED: Record<EngineProfileName, number> = { "a10g-7b": 8, "a100-8b": 1, "h100-70b": 1, "a10g-7b-vtc": 8 };
const CLI = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const mix = findWorkloadProfile(values.mix);
if (mix === undefined) throw new Error(`--mix ${values.mix}: no such workload profile`);

function command(...args: readonly string[]): ChildProcess {
	return spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "ignore"] });
}

console.log("profile        speed   true tokens/s   found   difference");
for (const name of ENGINE_PROFILE_NAMES) {
	if (values.profile !== undefined && values.profile !== name) continue;
	const speed = SPEED[name];
	const mock = command("mock-llm", "--port", "0", "--json", "--profile", name, "--speed", String(speed));
	const [line] = (await once(createInterface(mock.stdout!), "line")) as [string];
	const { data } = JSON.parse(line) as { data: string };
	const run = command(
		...["benchmark", "--endpoint", data, "--model", "mock", "--duration", values.duration],
		...["--workload-profile", values.mix, "--ttft-limit", "60s", "--json"],
	);
	let text = "";
	run.stdout!.on("data", (chunk: Buffer) => {
		text += chunk.toString();
	});
	await once(run, "close");
	mock.kill("SIGTERM");
	await once(mock, "close");
	const { results } = JSON.parse(text) as BenchmarkReport;
	const real = speed * trueCapacity(ENGINE_PROFILES[name], mix, 99, 3_600_000);
	const difference = `${((results.max_tps / real - 1) * 100).toFixed(1)} %`;
	console.log(
		`${name.padEnd(14)}${String(speed).padStart(6)}${real.toFixed(0).padStart(16)}${results.max_tps.toFixed(0).padStart(8)}${difference.padStart(13)}`,
	);
}
