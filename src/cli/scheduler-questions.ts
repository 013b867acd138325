/**
 * The questions of `scheduler configure`. What a flag says is not asked; without a person every question has its default. The terminal itself
 * is behind `Questions`, so that tests answer in its place.
 */
import { cancel, confirm, intro, isCancel, select, text } from "@clack/prompts";
import type { CLASSIFIERS } from "../config/schema-scheduler.ts";
import type { AllocatorKind, SchedulerKind } from "../core/model/policy.ts";
import { type BenchmarkReport, type CapacityFlags, UserError } from "./capacity-proposal.ts";

export type ClassifierKind = (typeof CLASSIFIERS)[number];

export interface ConfigureFlags extends CapacityFlags {
	readonly allocator?: AllocatorKind;
	readonly scheduler?: SchedulerKind;
	readonly classifier?: ClassifierKind;
	readonly bucketCount?: number;
	readonly priorityLevels?: number;
	readonly upstream?: string;
	/** Address blocks, comma-separated. */
	readonly trustedCidrs?: string;
}

export interface Answers extends CapacityFlags {
	readonly allocator: AllocatorKind;
	readonly scheduler: SchedulerKind;
	readonly classifier: ClassifierKind;
	readonly bucketCount: number;
	readonly priorityLevels: number;
	readonly upstream: string | undefined;
	readonly trustedCidrs: string | undefined;
}

export interface Questions {
	choose<T extends string>(message: string, choices: Readonly<Record<T, string>>, fallback: T): Promise<T>;
	number(message: string, fallback: number, min: number, max: number): Promise<number>;
	confirm(message: string): Promise<boolean>;
}

export async function askMissing(
	flags: ConfigureFlags,
	report: BenchmarkReport | undefined,
	questions: Questions | undefined,
): Promise<Answers> {
	const choose = async <T extends string>(
		given: T | undefined,
		message: string,
		choices: Readonly<Record<T, string>>,
		fallback: T,
	): Promise<T> => given ?? (await questions?.choose(message, choices, fallback)) ?? fallback;
	const whole = async (given: number | undefined, message: string, fallback: number, min: number, max: number) =>
		given ?? (await questions?.number(message, fallback, min, max)) ?? fallback;

	const buckets = flags.bucketCount ?? flags.baseCapacityRps ?? flags.baseCapacityTps ?? report;
	const allocator = await choose(
		// A flag that only buckets have is an answer, and a contradicting one is said.
		flags.allocator ?? (buckets === undefined || questions !== undefined ? undefined : "bucket"),
		"How are tenants told apart when capacity is short?",
		{ priority: "priority levels: simple, five by default", bucket: "capacity buckets: every tier gets its own part" },
		buckets === undefined ? "priority" : "bucket",
	);
	const bucket = allocator === "bucket";
	if (!bucket && (flags.bucketCount ?? flags.baseCapacityRps ?? flags.baseCapacityTps) !== undefined)
		throw new UserError("--bucket-count and --base-capacity-… need --allocator bucket");
	const scheduler = await choose(
		flags.scheduler,
		"In which order are waiting requests served?",
		{
			hybrid: "hybrid: the best strictly first, fair shares for the rest",
			atleast: "atleast: a floor for everybody, idle capacity to whoever waits",
			wfq: "wfq: fair shares by weight",
			drr: "drr: fair shares by weight, in rounds",
			strict: "strict: always the best first; the worst may starve",
		},
		bucket ? "atleast" : "hybrid",
	);
	const classifier = await choose(
		flags.classifier,
		"How does a request say who it is from?",
		{
			hybrid: "hybrid: headers of trusted peers, else API tokens",
			token: "token: API tokens only",
			header: "header: headers of trusted peers only",
		},
		"hybrid",
	);
	const bucketCount = bucket ? await whole(flags.bucketCount, "How many buckets?", 10, 2, 100) : 10;
	const priorityLevels = bucket
		? (flags.priorityLevels ?? 5)
		: await whole(flags.priorityLevels, "How many priority levels?", 5, 2, 20);
	const askBase =
		bucket && report === undefined && flags.baseCapacityRps === undefined && flags.baseCapacityTps === undefined;
	const asked = askBase
		? await questions?.number(
				"Requests per second that the engine sustains (`tokligence benchmark` measures it)?",
				100,
				1,
				1e6,
			)
		: undefined;
	return {
		...flags,
		...(asked === undefined ? {} : { baseCapacityRps: asked }),
		allocator,
		scheduler,
		classifier,
		bucketCount,
		priorityLevels,
		upstream: flags.upstream,
		trustedCidrs: flags.trustedCidrs,
	};
}

/** Nothing where input or output is no terminal. */
export function terminalQuestions(): Questions | undefined {
	if (process.stdin.isTTY !== true || process.stdout.isTTY !== true) return undefined;
	let greeted = false;
	const greet = () => {
		if (!greeted) intro("Scheduler of the gateway");
		greeted = true;
	};
	const answered = <T>(answer: T | symbol): T => {
		if (!isCancel(answer)) return answer as T;
		cancel("left");
		throw new UserError("the questions were left, nothing is written");
	};
	return {
		choose: async <T extends string>(message: string, choices: Readonly<Record<T, string>>, fallback: T) => {
			greet();
			const options = Object.entries<string>(choices).map(([value, label]) => ({ value, label }));
			return answered(await select({ message, options, initialValue: fallback as string })) as T;
		},
		number: async (message, fallback, min, max) => {
			greet();
			const validate = (value: string | undefined) => {
				const number = Number(value === undefined || value === "" ? fallback : value);
				return number >= min && number <= max ? undefined : `a number from ${min} to ${max}`;
			};
			const options = { message, placeholder: String(fallback), defaultValue: String(fallback), validate };
			return Number(answered(await text(options)));
		},
		confirm: async (message) => {
			greet();
			return answered<boolean>(await confirm({ message, initialValue: false }));
		},
	};
}
