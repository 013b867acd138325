/**
 * Moving from priority levels to buckets, on the same requests before and after: no old level waits longer at its P99 than
 * `migrate-to-bucket-scheduler` predicts from the shares alone.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { migrateCommand } from "../../src/cli/migrate.ts";
import { predictMigration } from "../../src/cli/migration-prediction.ts";
import type { GatewayConfig } from "../../src/config/gateway-config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { ENGINE_PROFILES } from "../../src/simulate/engine-profiles.ts";
import { readScenario, scenarioArrivals } from "../../src/simulate/scenario.ts";
import { openTrace } from "../../src/simulate/traces.ts";
import { traceArrivals } from "../../src/simulate/workload.ts";

const PROFILE = ENGINE_PROFILES["a100-8b"];
/** Where the engine is kept busy, and a base below what it then does: what the tool asks for. */
const CAPACITY = "[capacity]\nmax_concurrent = 100\n";

const trace = openTrace(fileURLToPath(new URL("../fixtures/traces/azure2023-conv-excerpt.csv", import.meta.url)));
const FLOOD = readScenario({
	duration: "120s",
	seed: 3,
	tiers: [
		{
			name: "production",
			tier: "internal",
			environment: "production",
			rate: 2,
			prompt: 400,
			output: { min: 20, max: 600, mean: 150 },
		},
		{ name: "staging", tier: "internal", environment: "staging", rate: 0.5, prompt: 400, output: 150 },
		{ name: "premium", tier: "premium", rate: 1, prompt: 800, output: { min: 20, max: 600, mean: 200 } },
		{ name: "standard", tier: "external", rate: 1, prompt: 800, output: 200 },
		{
			name: "batch",
			tier: "internal",
			workload: "batch",
			rate: 30,
			from: "20s",
			until: "70s",
			prompt: 700,
			output: 250,
			stream: false,
		},
	],
});
const LOADS = {
	"a trace at its own speed": () => traceArrivals(trace, 1),
	"a trace three times as fast": () => traceArrivals(trace, 3),
	"a batch flood": () => scenarioArrivals(FLOOD, 1),
};

async function migrated(text: string, ...flags: string[]): Promise<{ before: GatewayConfig; after: GatewayConfig }> {
	const folder = mkdtempSync(join(tmpdir(), "migration-"));
	onTestFinished(() => rmSync(folder, { recursive: true }));
	const file = join(folder, "gateway.ini");
	writeFileSync(file, text);
	let errors = "";
	const io = {
		env: { TOKLIGENCE_DATA_DIR: folder },
		out: () => {},
		error: (line: string) => {
			errors += line;
		},
		setExitCode: (code: number) => expect(code, errors).toBe(0),
	};
	const config = (path: string) => {
		const loaded = loadConfig({ path, env: {} });
		if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
		return loaded.config;
	};
	const before = config(file);
	await migrateCommand(io).parseAsync(["--config", file, ...flags], { from: "user" });
	return { before, after: config(file) };
}

test.each(
	["wfq", "drr", "atleast", "hybrid", "strict"].flatMap((scheduler) =>
		Object.keys(LOADS).map((load) => [scheduler, load as keyof typeof LOADS] as const),
	),
)(
	"%s, %s: each old level's P99 wait is no worse than predicted, by requests and by tokens",
	async (scheduler, load) => {
		const text = `[request_scheduler]\nscheduler = ${scheduler}\n${CAPACITY}`;
		for (const base of [
			["--base-capacity-rps", "10"],
			["--base-capacity-tps", "9000"],
		]) {
			const { before, after } = await migrated(text, ...base);
			const predictions = predictMigration({ before, after, profile: PROFILE, arrivals: LOADS[load] });
			expect(predictions.length).toBeGreaterThanOrEqual(4);
			for (const { name, afterP99Ms, predictedP99Ms } of predictions)
				expect(afterP99Ms, `${name}, ${base.join(" ")}`).toBeLessThanOrEqual(predictedP99Ms);
		}
	},
);

test("a prediction from more than the level is assured would not hold", async () => {
	const { before, after } = await migrated(
		`[request_scheduler]\nscheduler = wfq\n${CAPACITY}`,
		"--base-capacity-rps",
		"10",
	);
	// The buckets get what the configuration says; the prediction believes in a hundred times as much.
	const boast = {
		...after,
		allocator: { ...after.allocator, bucket: { ...after.allocator.bucket, baseCapacityRps: 1000 } },
	};
	const honest = predictMigration({ before, after, profile: PROFILE, arrivals: LOADS["a batch flood"] });
	const boasting = predictMigration({ before, after: boast, profile: PROFILE, arrivals: LOADS["a batch flood"] });
	const broken = honest.filter(({ name, afterP99Ms }) => {
		const boast = boasting.find((prediction) => prediction.name === name)!;
		return afterP99Ms > boast.predictedP99Ms;
	});
	expect(broken.length).toBeGreaterThan(0);
});
