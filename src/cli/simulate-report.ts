/** Results of a simulation as a table for people, with the configurations under each other. */
import type { GroupReport, SimulationReport } from "../simulate/report.ts";

export const HEADINGS = [
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
	"upgrades",
	"preempted",
	"Jain",
] as const;

export function simulationTable(reports: readonly SimulationReport[]): string {
	const rows = [HEADINGS as readonly string[], ...rowsOf(reports)];
	const widths = HEADINGS.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
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
	return [...names, "times in ms", ...table, ...services(reports), ...refusals(reports)].join("\n");
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
				if (group !== undefined) rows.push(cells(group, letter(index)));
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

export function letter(index: number): string {
	return String.fromCharCode(65 + index);
}
