/** The text of a new configuration: only what was decided, each with the reason a reader needs to change it. */
import { quoteIniValue } from "../config/ini.ts";
import type { SchedulerKind } from "../core/model/policy.ts";
import { type BenchmarkReport, type Proposal, proposeShape } from "./capacity-proposal.ts";
import type { Answers, ClassifierKind } from "./scheduler-questions.ts";

const ABOUT_SCHEDULER: Readonly<Record<SchedulerKind, string>> = {
	strict: "always the best queue first; the worst may starve",
	wfq: "fair shares by weight, nothing idle while somebody waits",
	drr: "fair shares by weight, in rounds",
	hybrid: "the best strictly first, fair shares for the rest",
	atleast: "a floor for everybody, idle capacity to whoever waits",
};
const ABOUT_CLASSIFIER: Readonly<Record<ClassifierKind, string>> = {
	hybrid: "headers of trusted peers, else API tokens",
	token: "API tokens only",
	header: "headers of trusted peers only",
};

/** @param proposal base of the buckets; absent with priority levels */
export function newConfigText(
	answers: Answers,
	proposal: Proposal | undefined,
	report: BenchmarkReport | undefined,
): string {
	const { allocator, scheduler, classifier, upstream } = answers;
	const bucket = proposal !== undefined;
	const lines = [
		"# Written by `tokligence scheduler configure`. Check it with `tokligence validate-config`; every key is optional.",
		"",
		"[request_scheduler]",
		`classifier = ${classifier}  # ${ABOUT_CLASSIFIER[classifier]}`,
		`allocator = ${allocator}  # ${bucket ? "every tier gets its own part of the capacity" : "levels, 0 is the best"}`,
		`scheduler = ${scheduler}  # ${ABOUT_SCHEDULER[scheduler]}`,
	];
	if (proposal === undefined) lines.push("", "[allocator.priority]", `priority_levels = ${answers.priorityLevels}`);
	else lines.push(...bucketLines(answers, proposal));
	if (answers.trustedCidrs !== undefined)
		lines.push(
			"",
			"# Peers whose X-TGW-* headers count.",
			"[classifier.header]",
			`trusted_cidrs = ${quoteIniValue(oneLine(answers.trustedCidrs))}`,
		);
	else if (classifier !== "token")
		lines.push(
			"",
			"# Headers count only from peers that are named; without any, tokens alone tell tenants apart.",
			"# [classifier.header]",
			"# trusted_cidrs = 10.0.0.0/8",
		);
	if (report?.maxConcurrent !== undefined)
		lines.push(
			"",
			`# Measured in ${oneLine(report.path)}.`,
			"[capacity]",
			`max_concurrent = ${Math.max(1, Math.floor(report.maxConcurrent))}`,
		);
	if (upstream !== undefined)
		lines.push(
			"",
			"# The engine; several URLs, comma-separated, are replicas.",
			"[provider.default]",
			`endpoint = ${quoteIniValue(oneLine(upstream))}`,
		);
	return `${lines.join("\n")}\n`;
}

function bucketLines({ bucketCount, priorityLevels }: Answers, { unit, base, source }: Proposal): readonly string[] {
	const { model, decayRatio } = proposeShape(bucketCount);
	return [
		"",
		"[allocator.bucket]",
		`bucket_count = ${bucketCount}`,
		`# All buckets together, ${oneLine(source)}. Begin at 50 to 70 % of the measured maximum, watch a week, then go to 85 %.`,
		`base_capacity_${unit} = ${base}`,
		"capacity_basis = total  # the buckets share the base, so each is assured its number",
		`distribution_model = ${model}`,
		`decay_ratio = ${decayRatio}  # each bucket as a part of the next better one`,
		...(priorityLevels === 5
			? []
			: [
					"",
					"# Levels that hints and tokens speak of.",
					"[allocator.priority]",
					`priority_levels = ${priorityLevels}`,
				]),
	];
}

/** File names may hold anything; a comment is one line. */
function oneLine(text: string): string {
	return text.replaceAll(/[\u0000-\u001f\u007f]+/g, " ");
}
