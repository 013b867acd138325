/**
 * The frontier: production's time to first token against throughput, core × engine model on virtual time.
 *
 * Method: production arrives as a Poisson stream (prompt lognormal median 490, output median 134) beside a batch backlog that never
 * ends (735 / 270); 300 s per run after 30 s of warm-up, several seeds, TTFT counted from arrival at the gateway. `oracle` is
 * instant admission: the same engine at the same batch occupancy, production goes straight to an engine with room for it. `fifo`
 * sends everything at once. Ratios are against the oracle and against the best throughput of the engine. Virtual time: the
 * figures are the same on any machine. Usage: node bench/frontier.ts [--seeds N] [--quick] [--profile NAME,NAME]
 */
import { parseArgs } from "node:util";
import { ENGINE_PROFILES } from "../src/simulate/engine-profiles.ts";
import { PREEMPTION, type Setting, simulateSetting } from "./frontier-scenario.ts";

const { values } = parseArgs({
	options: {
		seeds: { type: "string", default: "3" },
		quick: { type: "boolean", default: false },
		profile: { type: "string" },
	},
});
const SEEDS = Number(values.seeds);
function table(title: string, settings: Setting[]): void {
	const rows = settings.map((setting) => ({ setting, outcome: simulateSetting(setting, SEEDS) }));
	const best = Math.max(...rows.filter((row) => row.setting.mode !== "oracle").map((row) => row.outcome.tokensPerSec));
	const oracle = rows.find((row) => row.setting.mode === "oracle")!.outcome.p99;
	console.log(`\n${title}\n${"setting".padEnd(44)} P50 ms   P99 ms  ×oracle  tok/s  of best  engine queue`);
	for (const { setting, outcome } of rows) {
		console.log(
			`${setting.label.padEnd(42)}${outcome.p50.toFixed(0).padStart(8)} ${outcome.p99.toFixed(0).padStart(8)} ${(outcome.p99 / oracle).toFixed(2).padStart(8)} ${outcome.tokensPerSec.toFixed(0).padStart(6)} ${((outcome.tokensPerSec / best) * 100).toFixed(1).padStart(7)}% ${outcome.engineQueue.toFixed(2).padStart(8)}${outcome.preemptions > 0 ? `  ${outcome.preemptions} preempted` : ""}`,
		);
	}
}

const OFF = Number.POSITIVE_INFINITY;
for (const name of (values.profile ?? "a100-8b,h100-70b,a10g-7b").split(",") as (keyof typeof ENGINE_PROFILES)[]) {
	const profile = ENGINE_PROFILES[name];
	const limit = profile.slots;
	const settings: Setting[] = [
		{ label: "pass-through (FIFO in the engine)", profile, limit, headroom: 0, window: OFF, mode: "fifo" },
		{ label: "oracle: instant admission", profile, limit, headroom: 0, window: "auto", mode: "oracle" },
	];
	for (const scheduler of ["strict", "wfq"] as const) {
		for (const headroom of [0, 0.02, 0.03, 0.05, 0.1]) {
			settings.push({
				label: `${scheduler} headroom ${headroom} window auto`,
				profile,
				limit,
				headroom,
				window: "auto",
				scheduler,
			});
		}
	}
	settings.push({ label: "strict headroom 0.03 window off", profile, limit, headroom: 0.03, window: OFF });
	settings.push({ label: "strict headroom 0.03 window 512", profile, limit, headroom: 0.03, window: 512 });
	settings.push({
		label: "strict headroom 0.03 limit 0.9",
		profile,
		limit: Math.round(limit * 0.9),
		headroom: 0.03,
		window: "auto",
	});
	settings.push({
		label: "strict headroom 0.03 preemption",
		profile,
		limit,
		headroom: 0.03,
		window: "auto",
		preemption: PREEMPTION,
	});
	settings.push({
		label: "strict headroom 0 preemption",
		profile,
		limit,
		headroom: 0,
		window: "auto",
		preemption: PREEMPTION,
	});
	for (const maxPerRequest of [2, 4, 1000]) {
		for (const headroom of [0.03, 0.1]) {
			settings.push({
				label: `strict headroom ${headroom} preemption ≤ ${maxPerRequest} each`,
				profile,
				limit,
				headroom,
				window: "auto",
				preemption: { ...PREEMPTION, maxPerRequest },
			});
		}
	}
	table(name, settings);
	if (values.quick) continue;
	for (const onset of [true, false]) {
		for (const promptScale of onset ? [1] : [4]) {
			table(`${name}, ${onset ? "onset of a flood" : `batch prompts × ${promptScale}`}`, [
				{ label: "oracle", profile, limit, headroom: 0, window: OFF, mode: "oracle", onset, promptScale },
				{ label: "headroom 0.03, no window", profile, limit, headroom: 0.03, window: OFF, onset, promptScale },
				{ label: "headroom 0.03, window auto", profile, limit, headroom: 0.03, window: "auto", onset, promptScale },
				{ label: "headroom 0.03, window 512", profile, limit, headroom: 0.03, window: 512, onset, promptScale },
			]);
		}
	}
}
