/**
 * A described workload for the simulator: a few tiers, each with a rate, lengths and a time in which it asks.
 *
 *     duration: 60s
 *     seed: 1
 *     tiers:
 *       - { name: chat, tier: external, rate: 4, tenants: 3, prompt: 500, output: { min: 10, max: 900, mean: 200 } }
 *       - { name: flood, tier: internal, workload: batch, rate: 20, from: 20s, until: 40s, prompt: 2000, output: 300, stream: false }
 *       - { name: rising, tier: premium, rate: { from: 1, to: 5 }, arrivals: regular, on: 30s, off: 10s, prompt: 100, output: 50 }
 *
 * A tier with a `count` in place of a rate asks for all of them at once, at `from`.
 *
 * It may bring what it is to be run with, used where the command line says nothing: `engine` (a profile's name, or a table: `name`, `like` the profile
 * that fills in what is not said, `slots`, `kv_tokens`, `chunk_tokens`, `step_base_ms`, `step_ms_per_sequence`, `step_ms_per_context_token`,
 * `prefill_ms_per_token`), `network_delay` (from the gateway to its engine, and again back), `configs` (names with the text of
 * a configuration file), `rules` (as in a policy file, in place of the default ones), `policy` (the rest of one), `start` (what the calendar shows
 * when it begins), and say what it is in `about`.
 *
 * Arrivals are Poisson processes, or `regular`: evenly spaced, the first one gap after `from`. With `on` and `off` a tier asks for so long, then
 * pauses for so long, in turns. The same seed gives the same requests. A scenario that says something else throws a ScenarioError that
 * names the field. Units: milliseconds, tokens, requests per second over all tenants of a tier.
 */
import type { RoutingRule } from "../core/model/policy.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import { ENGINE_PROFILE_NAMES, type EngineProfile, findEngineProfile } from "./engine-profiles.ts";
import { Random } from "./random.ts";
import { readRules } from "./rules.ts";
import type { SimulatedArrival } from "./workload.ts";

export interface ScenarioTier {
	readonly name: string;
	readonly tier: string;
	readonly environment?: string;
	readonly workload?: string;
	readonly tenants: number;
	/** At the beginning and at the end of its time. */
	readonly rate: { readonly from: number; readonly to: number };
	/** So many at once in place of a rate. */
	readonly count?: number;
	readonly regular: boolean;
	/** Asks for so long, then pauses for so long. */
	readonly onMs: Millis;
	readonly offMs: Millis;
	readonly fromMs: Millis;
	readonly untilMs: Millis;
	readonly prompt: Lengths;
	readonly output: Lengths;
	readonly stream: boolean;
}

interface Lengths {
	readonly min: Tokens;
	readonly max: Tokens;
	readonly mean: Tokens;
}

export interface Scenario {
	readonly durationMs: Millis;
	readonly seed: number;
	readonly tiers: readonly ScenarioTier[];
	readonly about?: string;
	readonly engine?: EngineProfile;
	readonly networkDelayMs?: Millis;
	readonly configs: readonly { readonly name: string; readonly text: string }[];
	readonly rules?: readonly RoutingRule[];
	/** As it is written. */
	readonly policy?: unknown;
	readonly start?: string;
}

export class ScenarioError extends Error {
	override readonly name = "ScenarioError";
}

const SCENARIO_KEYS = [
	"duration",
	"seed",
	"tiers",
	"about",
	"engine",
	"configs",
	"rules",
	"policy",
	"start",
	"network_delay",
];
const TIER_KEYS = [
	"name",
	"tier",
	"environment",
	"workload",
	"tenants",
	"rate",
	"count",
	"arrivals",
	"on",
	"off",
	"from",
	"until",
	"prompt",
	"output",
	"stream",
];

type Fields = Readonly<Record<string, unknown>>;

/** @param value what the YAML text says */
export function readScenario(value: unknown): Scenario {
	const fields = object("the scenario", value, SCENARIO_KEYS);
	const durationMs = time("duration", fields["duration"]);
	const { tiers, about, rules } = fields;
	if (about !== undefined && typeof about !== "string") throw new ScenarioError("about: a text is allowed");
	if (!Array.isArray(tiers) || tiers.length === 0)
		throw new ScenarioError("tiers: a list of at least one tier is needed");
	return {
		durationMs,
		seed: number("seed", fields["seed"] ?? 1, 0),
		tiers: tiers.map((tier, index) => readTier(`tiers[${index}]`, tier, durationMs)),
		...(about === undefined ? {} : { about }),
		...engineOf(fields["engine"]),
		...(fields["network_delay"] === undefined
			? {}
			: { networkDelayMs: time("network_delay", fields["network_delay"]) }),
		configs: configsOf(fields["configs"]),
		...(rules === undefined ? {} : { rules: rulesOf(rules) }),
		...(fields["policy"] === undefined ? {} : { policy: fields["policy"] }),
		...startOf(fields["start"]),
	};
}

const ENGINE_COSTS = {
	step_base_ms: "stepBaseMs",
	step_ms_per_sequence: "stepMsPerSequence",
	step_ms_per_context_token: "stepMsPerContextToken",
	prefill_ms_per_token: "prefillMsPerToken",
} as const;
const ENGINE_SIZES = { slots: "slots", kv_tokens: "kvTokens", chunk_tokens: "chunkTokens" } as const;
type EngineNumber = (typeof ENGINE_COSTS)[keyof typeof ENGINE_COSTS] | (typeof ENGINE_SIZES)[keyof typeof ENGINE_SIZES];

function engineOf(value: unknown): { engine?: EngineProfile } {
	if (value === undefined) return {};
	if (typeof value !== "object" || value === null) return { engine: profileOf("engine", value) };
	const fields = object("engine", value, [...Object.keys(ENGINE_COSTS), ...Object.keys(ENGINE_SIZES), "name", "like"]);
	const { name, like } = fields;
	if (typeof name !== "string" || name === "") throw new ScenarioError("engine.name: a word is needed");
	const said: Partial<Record<EngineNumber, number>> = {};
	for (const [key, property] of Object.entries<EngineNumber>(ENGINE_COSTS))
		if (fields[key] !== undefined) said[property] = number(`engine.${key}`, fields[key], 0);
	for (const [key, property] of Object.entries<EngineNumber>(ENGINE_SIZES))
		if (fields[key] !== undefined) said[property] = Math.round(number(`engine.${key}`, fields[key], 1));
	return { engine: { ...profileOf("engine.like", like), ...said, name } };
}

function profileOf(at: string, value: unknown): EngineProfile {
	const profile = typeof value === "string" ? findEngineProfile(value) : undefined;
	if (profile !== undefined) return profile;
	const shown = JSON.stringify(value) ?? "nothing";
	throw new ScenarioError(`${at}: ${shown} is no engine profile; known are ${ENGINE_PROFILE_NAMES.join(", ")}`);
}

function startOf(value: unknown): { start?: string } {
	if (value === undefined) return {};
	// YAML reads a date without quotes as a text or as a date.
	if (value instanceof Date) return { start: value.toISOString() };
	if (typeof value !== "string") throw new ScenarioError("start: an instant like 2026-11-27T21:50+01:00 is allowed");
	return { start: value };
}

function configsOf(value: unknown): Scenario["configs"] {
	if (value === undefined) return [];
	if (typeof value !== "object" || value === null || Array.isArray(value))
		throw new ScenarioError("configs: names with the text of a configuration file are allowed");
	return Object.entries(value).map(([name, text]) => {
		if (typeof text !== "string")
			throw new ScenarioError(`configs.${name}: the text of a configuration file is allowed`);
		return { name, text };
	});
}

function rulesOf(value: unknown): readonly RoutingRule[] {
	try {
		return readRules("rules", value);
	} catch (error) {
		throw new ScenarioError((error as Error).message);
	}
}

function readTier(at: string, value: unknown, durationMs: Millis): ScenarioTier {
	const fields = object(at, value, TIER_KEYS);
	const word = (key: string): string | undefined => {
		const text = fields[key];
		if (text === undefined) return undefined;
		if (typeof text !== "string" || text === "") throw new ScenarioError(`${at}.${key}: a word is allowed`);
		return text;
	};
	const tier = word("tier");
	if (tier === undefined) throw new ScenarioError(`${at}.tier: is missing`);
	const environment = word("environment");
	const workload = word("workload");
	const { stream } = fields;
	if (stream !== undefined && typeof stream !== "boolean")
		throw new ScenarioError(`${at}.stream: true or false is allowed`);
	const arrivals = fields["arrivals"] ?? "poisson";
	if (arrivals !== "poisson" && arrivals !== "regular")
		throw new ScenarioError(`${at}.arrivals: poisson or regular is allowed`);
	const pauses = fields["on"] !== undefined || fields["off"] !== undefined;
	return {
		name: word("name") ?? tier,
		tier,
		...(environment === undefined ? {} : { environment }),
		...(workload === undefined ? {} : { workload }),
		tenants: Math.round(number(`${at}.tenants`, fields["tenants"] ?? 1, 1)),
		...howMany(at, fields),
		regular: arrivals === "regular",
		onMs: pauses ? time(`${at}.on`, fields["on"]) : Number.POSITIVE_INFINITY,
		offMs: pauses ? time(`${at}.off`, fields["off"]) : 0,
		fromMs: fields["from"] === undefined ? 0 : time(`${at}.from`, fields["from"]),
		untilMs: fields["until"] === undefined ? durationMs : Math.min(durationMs, time(`${at}.until`, fields["until"])),
		prompt: lengths(`${at}.prompt`, fields["prompt"]),
		output: lengths(`${at}.output`, fields["output"]),
		stream: stream ?? true,
	};
}

function howMany(at: string, { rate, count }: Fields): Pick<ScenarioTier, "rate" | "count"> {
	if (count === undefined) return { rate: rateOf(`${at}.rate`, rate) };
	if (rate !== undefined) throw new ScenarioError(`${at}: a rate or a count is allowed, not both`);
	return { rate: { from: 1, to: 1 }, count: Math.round(number(`${at}.count`, count, 1)) };
}

function rateOf(at: string, value: unknown): ScenarioTier["rate"] {
	if (typeof value !== "object" || value === null) {
		const rate = number(at, value, 1e-6);
		return { from: rate, to: rate };
	}
	const fields = object(at, value, ["from", "to"]);
	return { from: number(`${at}.from`, fields["from"], 1e-6), to: number(`${at}.to`, fields["to"], 1e-6) };
}

function object(at: string, value: unknown, keys: readonly string[]): Fields {
	if (typeof value !== "object" || value === null || Array.isArray(value))
		throw new ScenarioError(`${at}: a table with ${keys.join(", ")} is needed`);
	for (const key of Object.keys(value))
		if (!keys.includes(key)) throw new ScenarioError(`${at}: ${key} is unknown; known are ${keys.join(", ")}`);
	return value as Fields;
}

function number(at: string, value: unknown, min: number): number {
	if (typeof value !== "number" || !(value >= min && value <= 1e12))
		throw new ScenarioError(`${at}: ${JSON.stringify(value) ?? "nothing"} is no number from ${min}`);
	return value;
}

/** `20s`, `500ms`, `2m`, or a number of seconds. */
function time(at: string, value: unknown): Millis {
	const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(String(value));
	const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[parts?.[2] ?? "s"];
	if (parts === null || unit === undefined)
		throw new ScenarioError(`${at}: ${JSON.stringify(value) ?? "nothing"} is no time like 20s or 5m`);
	return Number(parts[1]) * unit;
}

function lengths(at: string, value: unknown): Lengths {
	if (typeof value === "number") {
		const tokens = Math.round(number(at, value, 1));
		return { min: tokens, max: tokens, mean: tokens };
	}
	const fields = object(at, value, ["min", "max", "mean"]);
	const min = number(`${at}.min`, fields["min"], 1);
	const max = number(`${at}.max`, fields["max"], min);
	const mean = number(`${at}.mean`, fields["mean"] ?? (min + max) / 2, min);
	if (max > min && !(mean > min && mean < max))
		throw new ScenarioError(`${at}.mean: a number between min and max is allowed`);
	return { min, max, mean };
}

/** Beta(1, b) over the range, with exactly that mean. */
function draw({ min, max, mean }: Lengths, random: Random): Tokens {
	if (max === min) return min;
	return Math.round(min + (max - min) * (1 - (1 - random.next()) ** ((mean - min) / (max - mean))));
}

/** All tiers together, in order of time. */
export function* scenarioArrivals(scenario: Scenario, speedUp: number): Generator<SimulatedArrival, void> {
	const streams = scenario.tiers.map((tier, index) => tierArrivals(tier, scenario.seed * 1000 + index, speedUp));
	const heads = streams.map((stream) => stream.next());
	for (;;) {
		let soonest = -1;
		let soonestMs = Number.POSITIVE_INFINITY;
		for (let index = 0; index < heads.length; index++) {
			const head = heads[index]!;
			if (head.done === true || head.value.arrivalMs >= soonestMs) continue;
			soonest = index;
			soonestMs = head.value.arrivalMs;
		}
		if (soonest < 0) return;
		yield heads[soonest]!.value as SimulatedArrival;
		heads[soonest] = streams[soonest]!.next();
	}
}

function* tierArrivals(tier: ScenarioTier, seed: number, speedUp: number): Generator<SimulatedArrival, void> {
	const random = new Random(seed);
	const next =
		tier.count !== undefined
			? allAtOnce(tier, tier.count)
			: tier.regular
				? regularAfter(tier)
				: poissonAfter(tier, random);
	const tenants = Array.from({ length: tier.tenants }, (_, index) => metadataOf(tier, index + 1));
	for (let at = next(tier.fromMs); at < tier.untilMs; at = next(at)) {
		if ((at - tier.fromMs) % (tier.onMs + tier.offMs) >= tier.onMs) continue;
		yield {
			arrivalMs: at / speedUp,
			metadata: tenants.length === 1 ? tenants[0]! : tenants[random.integer(0, tenants.length - 1)]!,
			promptTokens: draw(tier.prompt, random),
			outputTokens: draw(tier.output, random),
			stream: tier.stream,
		};
	}
}

function metadataOf(tier: ScenarioTier, tenant: number): RoutingMetadata {
	return {
		tier: tier.tier,
		...(tier.environment === undefined ? {} : { environment: tier.environment }),
		...(tier.workload === undefined ? {} : { workload: tier.workload }),
		accountId: tier.tenants === 1 ? tier.name : `${tier.name}-${tenant}`,
		routedBy: "token",
	};
}

function allAtOnce({ fromMs }: ScenarioTier, count: number): () => Millis {
	let left = count;
	return () => (left-- > 0 ? fromMs : Number.POSITIVE_INFINITY);
}

/** Thinning: candidates at the highest rate, each kept with the part that the rate at its time is of it. */
function poissonAfter({ rate, fromMs, untilMs }: ScenarioTier, random: Random): (at: Millis) => Millis {
	const highest = Math.max(rate.from, rate.to);
	return (at) => {
		for (;;) {
			at += random.exponential(1000 / highest);
			if (rate.from === rate.to || at >= untilMs) return at;
			const now = rate.from + ((rate.to - rate.from) * (at - fromMs)) / (untilMs - fromMs);
			if (random.next() * highest < now) return at;
		}
	};
}

/** The n-th request comes when the integral of the rate reaches n. */
function regularAfter({ rate, fromMs, untilMs }: ScenarioTier): (at: Millis) => Millis {
	const slope = (rate.to - rate.from) / (untilMs - fromMs);
	let count = 0;
	return () => {
		count++;
		if (slope === 0) return fromMs + (count / rate.from) * 1000;
		const wanted = rate.from ** 2 + 2 * slope * count * 1000;
		return wanted < 0 ? Number.POSITIVE_INFINITY : fromMs + (Math.sqrt(wanted) - rate.from) / slope;
	};
}
