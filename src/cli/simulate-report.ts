/** Results of a simulation as a table for people, with the configurations under each other. */
import type { GroupReport, SimulationReport } from "../simulate/report.ts";

const HEADINGS = [
	"queue or tenant",
	"config",
	"requests",
	"served",
	"refused",
	"wait p50",
	"wait p99",
	"ttft mean",
	"ttft p50",
	"ttft p99",
	"tokens/s",
	"last end",
	"upgrades",
	"preempted",
	"Jain",
] as const;

/** Columns that are shown where anything stands in them. */
const MORE = [
	["held by rate", (group: GroupReport) => group.held.rate_quota],
	["held by guard", (group: GroupReport) => group.held.capacity_guard],
	["refused by guard", (group: GroupReport) => group.refused["capacity_guard"] ?? 0],
	["refused by quota", (group: GroupReport) => group.refused["quota_exceeded"] ?? 0],
	["borrowed", (group: GroupReport) => group.borrowed],
] as const;

function shownOf(reports: readonly SimulationReport[]) {
	return MORE.filter(([, of]) => reports.some(({ total }) => of(total) > 0));
}

export function headingsOf(reports: readonly SimulationReport[]): readonly string[] {
	return [...HEADINGS, ...shownOf(reports).map(([heading]) => heading)];
}

export function simulationTable(reports: readonly SimulationReport[]): string {
	const headings = headingsOf(reports);
	const rows = [headings, ...rowsOf(reports)];
	const widths = headings.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
	const table = rows.map((row) =>
		row
			.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
			.join("  ")
			.trimEnd(),
	);
	const names = reports.map(
		(report, index) =>
			`${letter(index)}: ${report.config} on ${report.engine_profile}, ${(report.simulated_ms / 1000).toFixed(1)} s simulated`,
	);
	return [...names, "times in ms", ...table, ...services(reports), ...refusals(reports), ...promises(reports)].join(
		"\n",
	);
}

/** Said where two tenants were backlogged together at all. */
export function services(reports: readonly SimulationReport[]): readonly string[] {
	return reports.flatMap(({ service }, index) =>
		service.max_difference === 0
			? []
			: [
					`largest difference of service between two backlogged tenants in ${letter(index)}: ${service.max_difference} (prompt tokens + 2 × answer tokens), Jain's index of their service ${service.jain_index}`,
				],
	);
}

export function rowsOf(reports: readonly SimulationReport[]): readonly (readonly string[])[] {
	const rows: string[][] = [];
	const more = shownOf(reports);
	for (const pick of [
		(report: SimulationReport) => [report.total],
		(report: SimulationReport) => report.queues.filter(({ requests }) => requests > 0),
		(report: SimulationReport) => report.tenants,
	]) {
		const lists = reports.map(pick);
		const names = new Set(lists.flatMap((list) => list.map(({ name }) => name)));
		for (const name of names)
			for (const [index, list] of lists.entries()) {
				const group = list.find((candidate) => candidate.name === name);
				if (group !== undefined)
					rows.push([...cells(group, letter(index)), ...more.map(([, of]) => String(of(group)))]);
			}
	}
	return rows;
}

function cells(group: GroupReport, config: string): string[] {
	return [
		group.name,
		config,
		group.requests,
		group.served,
		group.requests - group.served,
		group.wait_ms.p50,
		group.wait_ms.p99,
		group.ttft_ms.mean,
		group.ttft_ms.p50,
		group.ttft_ms.p99,
		group.tokens_per_second,
		group.last_finished_ms,
		group.upgrades,
		group.preemptions,
		group.jain_index ?? "",
	].map(String);
}

export function refusals(reports: readonly SimulationReport[]): readonly string[] {
	return reports.flatMap(({ total }, index) => {
		const reasons = Object.entries(total.refused).map(([reason, count]) => `${reason} ${count}`);
		return reasons.length === 0 ? [] : [`refused in ${letter(index)}: ${reasons.join(", ")}`];
	});
}

/** What time windows, the guard, budgets and rate quotas did. */
export function promises(reports: readonly SimulationReport[]): readonly string[] {
	return reports.flatMap(({ promises: { starts_at: start, windows, guard, budgets, rates } }, index) => {
		const at = letter(index);
		return [
			...windows.map(
				({ name, applied, held_ms: ms }) =>
					`window ${name} in ${at}: ${applied === 0 ? "never held" : `held ${seconds(ms)}, began ${applied} times`} (from ${start})`,
			),
			...(guard === undefined
				? []
				: [
						`capacity guard in ${at}: ${guard.closed === 0 ? "stayed open" : `closed ${guard.closed} times, ${seconds(guard.closed_ms)}; ${guard.refused} refused, ${guard.held} held`}`,
					]),
			...budgets.map(
				(budget) =>
					`budget ${budget.quota_id} in ${at}: ${budget.used_value} of ${budget.limit_value} ${budget.limit_dimension} of ${nodeText(budget)} (${budget.usage_pct} %), ${budget.refused} refused`,
			),
			...rates.map(
				(rate) =>
					`rate ${rate.quota_id} in ${at}: ${nodeText(rate)}, ${rate.assured_tps} tokens/s assured, ${rate.ceiling_tps === null ? "no ceiling" : `at most ${rate.ceiling_tps}`}; ${rate.held} held, ${Math.round(rate.borrowed_tokens)} tokens borrowed`,
			),
		];
	});
}

function nodeText({ node, environment }: { readonly node: string; readonly environment: string | null }): string {
	return environment === null ? node : `${node} in ${environment}`;
}

function seconds(ms: number): string {
	return `${(ms / 1000).toFixed(1)} s`;
}

export function letter(index: number): string {
	return String.fromCharCode(65 + index);
}
