/**
 * What `scheduler configure` and `migrate-to-bucket-scheduler` propose: a base capacity (flags, else a benchmark report, else the configuration,
 * else a default that says so) and a shape of buckets that `validate-config` has nothing against. (Design: 06 §§4-5.)
 *
 * Units: requests/s or tokens/s, exactly one of the two.
 */
import { readFileSync } from "node:fs";
import { InvalidArgumentError, Option } from "commander";
import { type BucketUnit, type DistributionModel, MAX_BUCKETS, MIN_BUCKETS } from "../core/allocate/distribution.ts";

/** What is assumed when nobody measured anything. */
const DEFAULT_BASE_RPS = 100;

/** Thrown for what a person asked for and cannot have; the message is all they get to see. */
export class UserError extends Error {}

export interface Proposal {
	readonly unit: BucketUnit;
	readonly base: number;
	/** Where the number comes from, for a comment. */
	readonly source: string;
	readonly assumed: boolean;
}

export interface BenchmarkReport {
	readonly path: string;
	/** requests/s */
	readonly safeRps: number | undefined;
	/** tokens/s */
	readonly safeTps: number | undefined;
	/** sequences */
	readonly maxConcurrent: number | undefined;
}

export interface CapacityFlags {
	readonly baseCapacityRps?: number;
	readonly baseCapacityTps?: number;
	readonly report?: string;
	readonly unit?: BucketUnit;
}

/** The flags of both commands; `--bucket-count` stays with each, as only one of them needs it. */
export function capacityOptions(): readonly Option[] {
	return [
		new Option("--base-capacity-rps <n>", "requests per second that the buckets share").argParser(positive),
		new Option("--base-capacity-tps <n>", "tokens per second that the buckets share (instead of requests)").argParser(
			positive,
		),
		new Option("--report <file>", "benchmark report whose safe rate is taken"),
		new Option("--unit <unit>", "which rate of the report: requests or tokens per second").choices(["rps", "tps"]),
	];
}

export function positive(text: string): number {
	const value = Number(text);
	if (!(value > 0 && value <= 1e12)) throw new InvalidArgumentError("It must be a number above 0.");
	return value;
}

export function notNegative(text: string): number {
	const value = Number(text);
	if (text.trim() === "" || !(value >= 0 && value <= 1e12))
		throw new InvalidArgumentError("It must be a number from 0.");
	return value;
}

export function wholeNumber(min: number, max: number): (text: string) => number {
	return (text) => {
		const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
		if (!(value >= min && value <= max))
			throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
		return value;
	};
}

export const bucketCount = wholeNumber(MIN_BUCKETS, MAX_BUCKETS);

/** Runs the body of a command: what the person asked for wrongly becomes one line and the exit status given. */
export async function reportingUserErrors(
	io: { readonly error: (text: string) => void; readonly setExitCode: (code: number) => void },
	exitCode: number,
	body: () => void | Promise<void>,
): Promise<void> {
	try {
		await body();
	} catch (error) {
		if (!(error instanceof UserError)) throw error;
		io.error(`error: ${error.message}`);
		io.setExitCode(exitCode);
	}
}

export function readReport(path: string): BenchmarkReport {
	let report: unknown;
	try {
		report = JSON.parse(readFileSync(path, "utf8"));
	} catch (error) {
		const code = (error as NodeJS.ErrnoException).code;
		throw new UserError(`${path}: ${code === undefined ? "is not JSON" : `cannot be read: ${code}`}`);
	}
	const results = (report as { readonly results?: Readonly<Record<string, unknown>> } | null)?.results ?? {};
	const number = (key: string) => {
		const value = results[key];
		return typeof value === "number" && value > 0 && Number.isFinite(value) ? value : undefined;
	};
	const safeRps = number("recommended_safe_rps");
	const safeTps = number("recommended_safe_tps");
	if (safeRps === undefined && safeTps === undefined)
		throw new UserError(`${path}: has neither results.recommended_safe_rps nor …_tps; is it a benchmark report?`);
	return { path, safeRps, safeTps, maxConcurrent: number("recommended_max_concurrent") };
}

/** @param configured rates of the pool that the configuration names already */
export function proposeBase(
	flags: CapacityFlags,
	report: BenchmarkReport | undefined,
	configured: { readonly rps?: number | undefined; readonly tps?: number | undefined } = {},
): Proposal {
	const { baseCapacityRps: rps, baseCapacityTps: tps } = flags;
	if (rps !== undefined && tps !== undefined)
		throw new UserError("--base-capacity-rps and --base-capacity-tps exclude each other");
	if (rps !== undefined) return { unit: "rps", base: rps, source: "as given", assumed: false };
	if (tps !== undefined) return { unit: "tps", base: tps, source: "as given", assumed: false };
	if (report !== undefined) {
		const unit = flags.unit ?? (report.safeRps === undefined ? "tps" : "rps");
		const measured = unit === "rps" ? report.safeRps : report.safeTps;
		if (measured === undefined) throw new UserError(`${report.path}: has no results.recommended_safe_${unit}`);
		return { unit, base: rounded(measured), source: `safe rate measured in ${report.path}`, assumed: false };
	}
	if (configured.rps !== undefined)
		return { unit: "rps", base: configured.rps, source: "max_rps of the pool", assumed: false };
	if (configured.tps !== undefined)
		return { unit: "tps", base: configured.tps, source: "max_tokens_per_sec of the pool", assumed: false };
	return {
		unit: "rps",
		base: DEFAULT_BASE_RPS,
		source: "assumed, nothing was measured: run `tokligence benchmark`",
		assumed: true,
	};
}

/** Four digits, never more than was measured. */
function rounded(rate: number): number {
	const step = 10 ** (Math.floor(Math.log10(rate)) - 3);
	return Number((Math.floor(rate / step) * step).toPrecision(4));
}

/** A distribution that leaves no bucket empty by accident: the more buckets, the gentler the slope. */
export function proposeShape(count: number): { readonly model: DistributionModel; readonly decayRatio: number } {
	if (count > 50) return { model: "hybrid", decayRatio: 0.8 };
	return { model: "exponential", decayRatio: count <= 20 ? 0.7 : 0.9 };
}

/** At most four significant digits. */
export function figure(value: number): string {
	return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : "none";
}
