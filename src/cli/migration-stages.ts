/**
 * The way from levels to buckets in stages (design 03 §3): 90/10, 50/50, 10/90 by the weighted router, then buckets alone. What each stage writes into
 * the file, and what the levels wait at each of them by simulation of a trace's requests.
 */
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { IniDocument } from "../config/ini.ts";
import { accountPoint, sharesOf } from "../core/allocate/weighted-router.ts";
import type { RoutingRule } from "../core/model/policy.ts";
import { halfAt } from "../core/schedule/halves.ts";
import { percent } from "./migration-plan.ts";
import { fatesOf, levelsOf, type PredictionInput, p99 } from "./migration-prediction.ts";

/** Weights of levels and buckets, in order; the last is no router any more. */
const WEIGHTS = { "90/10": [90, 10], "50/50": [50, 50], "10/90": [10, 90], done: [0, 100] } as const;
export const STAGES = ["90/10", "50/50", "10/90", "done"] as const;
export type Stage = (typeof STAGES)[number];
export const STAGE_CHOICES = [...STAGES, "next"] as const;

const ROUTER = "allocator.weighted_router";
const COMMENT = "Accounts and capacity of levels and of buckets; a reload takes other weights over.";

/** Part of the accounts that is of the buckets now. */
export function bucketShareOf({ requestScheduler, allocator }: GatewayConfig): number {
	if (requestScheduler.allocator === "priority") return 0;
	const { priorityWeight, bucketWeight } = allocator.weightedRouter;
	return requestScheduler.allocator === "bucket" ? 1 : sharesOf(priorityWeight, bucketWeight)[1];
}

/** Stages that lie ahead of a configuration; never none. */
export function stagesAhead(config: GatewayConfig): readonly Stage[] {
	const now = bucketShareOf(config);
	const ahead = STAGES.filter((stage) => WEIGHTS[stage][1] / 100 > now + 1e-9);
	return ahead.length === 0 ? ["done"] : ahead;
}

/** Puts a stage into a file that has its buckets already. */
export function writeStage(document: IniDocument, stage: Stage): void {
	if (stage === "done") {
		document.set("request_scheduler", "allocator", "bucket");
		for (const { line, section } of document.entries().toReversed()) if (section === ROUTER) document.removeLine(line);
		const ours = document.text().split(/\r?\n/).indexOf(`# ${COMMENT}`);
		if (ours >= 0) document.removeLine(ours + 1);
		for (const { line, name } of document.sections().toReversed()) if (name === ROUTER) document.removeLine(line);
		return;
	}
	const isNew = document.get(ROUTER, "priority_weight") === undefined;
	const [priority, bucket] = WEIGHTS[stage];
	document.set("request_scheduler", "allocator", "weighted_router");
	document.set(ROUTER, "priority_weight", String(priority));
	document.set(ROUTER, "bucket_weight", String(bucket));
	const entry = document.entries().find(({ section, key }) => section === ROUTER && key === "priority_weight");
	if (isNew && entry !== undefined) document.insertComment(entry.line, COMMENT);
}

/** How the gateway takes a stage over. */
export function takeOver(config: GatewayConfig, stage: Stage): string {
	const isReload = config.requestScheduler.allocator === "weighted_router" && stage !== "done";
	return isReload
		? "a running gateway takes it over with `tokligence config reload`: what waits follows its account, nothing is lost"
		: "the gateway takes it over with a start: the allocator is another one";
}

export interface StagePrediction {
	/** `now` is the configuration as it is. */
	readonly stage: Stage | "now";
	/** Parts of the trace's accounts' requests and of the capacity that are of the buckets. */
	readonly bucketRequests: number;
	readonly bucketShare: number;
	readonly levels: readonly {
		readonly level: number;
		readonly name: string;
		readonly requests: number;
		/** P99 of the wait in the queue of what was served, milliseconds. */
		readonly waitP99Ms: number;
		readonly refused: number;
	}[];
}

/**
 * The waits of each level's requests as things are, and at every stage ahead.
 *
 * @param input `after` has the buckets in it, whatever allocator it names
 */
export function predictStages(input: PredictionInput): readonly StagePrediction[] {
	const arrivals = [...input.arrivals()];
	const { before, after, profile } = input;
	const asLevels = withAllocator(before, "priority");
	const levelOf = fatesOf(arrivals, asLevels, input.rulesBefore, profile);
	const predict = (stage: Stage | "now", config: GatewayConfig, rules: readonly RoutingRule[] | undefined) => {
		const fates = config === asLevels ? levelOf : fatesOf(arrivals, config, rules, profile);
		const bucketShare = bucketShareOf(config);
		const halves = [{ share: 1 - bucketShare }, { share: bucketShare }];
		const inBuckets = arrivals.filter(({ metadata }) => halfAt(accountPoint(metadata.accountId), halves) === 1);
		return {
			stage,
			bucketShare,
			bucketRequests: arrivals.length === 0 ? 0 : inBuckets.length / arrivals.length,
			levels: levelsOf(before).flatMap((name, level) => {
				const members = arrivals.flatMap((_, index) => (levelOf[index]?.queue === level ? [index] : []));
				const waits = members.flatMap((index) => fates[index]?.waitMs ?? []);
				if (members.length === 0) return [];
				const refused = members.length - waits.length;
				return [{ level, name, requests: members.length, waitP99Ms: p99(waits), refused }];
			}),
		};
	};
	const now = before.requestScheduler.allocator === "priority" ? asLevels : before;
	return [
		predict("now", now, input.rulesBefore),
		...stagesAhead(before).map((stage) => predict(stage, atStage(after, stage), input.rulesAfter)),
	];
}

function withAllocator(config: GatewayConfig, allocator: "priority" | "bucket" | "weighted_router"): GatewayConfig {
	return { ...config, requestScheduler: { ...config.requestScheduler, allocator } };
}

function atStage(config: GatewayConfig, stage: Stage): GatewayConfig {
	if (stage === "done") return withAllocator(config, "bucket");
	const [priorityWeight, bucketWeight] = WEIGHTS[stage];
	const weighted = { ...config.allocator, weightedRouter: { priorityWeight, bucketWeight } };
	return { ...withAllocator(config, "weighted_router"), allocator: weighted };
}

/** A line per level: its P99 now and at each stage; and what the accounts of the trace make of the weights. */
export function stageLines(predictions: readonly StagePrediction[]): readonly string[] {
	const [now] = predictions;
	if (now === undefined) return [];
	const lines = now.levels.map(({ level, name, requests }) => {
		const figures = predictions.map(({ stage, levels }) => {
			const own = levels.find((one) => one.level === level)!;
			return `${stage} ${Math.round(own.waitP99Ms)} ms${own.refused === 0 ? "" : ` (${own.refused} refused)`}`;
		});
		return `P${level} ${name}, ${requests} requests, P99 of the wait in the simulation: ${figures.join(", ")}`;
	});
	const shares = predictions
		.filter(({ stage }) => stage !== "now" && stage !== "done")
		.map(({ stage, bucketRequests }) => `${stage} ${percent(bucketRequests)}`);
	return shares.length === 0 ? lines : [...lines, `requests of the trace that go to buckets: ${shares.join(", ")}`];
}

/** Where so few or so uneven accounts send that a half would get much more than its share of the capacity. */
export function stageWarnings(predictions: readonly StagePrediction[]): readonly string[] {
	return predictions.flatMap(({ stage, bucketRequests, bucketShare }) => {
		if (stage === "now" || Math.abs(bucketRequests - bucketShare) <= 0.1) return [];
		return [
			`at ${stage} buckets have ${percent(bucketShare)} of the capacity and the accounts of this trace send them ${percent(bucketRequests)} of the requests: accounts are few, or one is large`,
		];
	});
}

export function stageAsJson({ stage, bucketRequests, bucketShare, levels }: StagePrediction) {
	return {
		stage,
		bucket_share: bucketShare,
		bucket_requests: bucketRequests,
		levels: levels.map(({ level, name, requests, waitP99Ms, refused }) => ({
			level,
			name,
			requests,
			wait_p99_ms: Math.round(waitP99Ms),
			refused,
		})),
	};
}
