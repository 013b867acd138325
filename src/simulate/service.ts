/**
 * How evenly tenants were served over time, as VTC measures it (Sheng et al., OSDI 2024): the service of a tenant is its prompt tokens, given
 * with the first token, plus twice its answer tokens, given as they are produced. While two tenants are both backlogged (something of
 * theirs waits for its first token all the time), what one received more than the other since both are is their difference.
 *
 * Memory is bounded: the first `MAX_TENANTS` tenants, 600 points of time whose width doubles when they are full. Units: milliseconds,
 * tokens weighted as above.
 */
import type { Millis, Tokens } from "../core/model/units.ts";

export interface ServiceReport {
	readonly step_ms: Millis;
	readonly tenants: readonly { readonly name: string; readonly service_total: readonly number[] }[];
	/** Largest difference of any two tenants in each step, counted from when both became backlogged; 0 where no two are. */
	readonly difference: readonly number[];
	readonly max_difference: number;
	/** Of what each tenant received while it and another were backlogged; 1 is equal. */
	readonly jain_index: number;
}

const MAX_TENANTS = 8;
const POINTS = 600;
const ANSWER_WEIGHT = 2;

class Tenant {
	readonly name: string;
	service = new Float64Array(POINTS);
	/** 1 where nothing waited for a part of the step. */
	idle = new Uint8Array(POINTS);
	waiting = 0;
	idleSince: Millis = 0;

	constructor(name: string) {
		this.name = name;
	}
}

export class ServiceTracker {
	readonly #tenants = new Map<string, Tenant>();
	#stepMs: Millis = 250;

	arrived(name: string, now: Millis): void {
		let tenant = this.#tenants.get(name);
		if (tenant === undefined) {
			if (this.#tenants.size === MAX_TENANTS) return;
			tenant = new Tenant(name);
			this.#tenants.set(name, tenant);
		}
		this.#reach(now);
		if (tenant.waiting++ === 0) this.#markIdle(tenant, now);
	}

	/** Waits no more: the first token has come, or it was refused. */
	answered(name: string, now: Millis): void {
		const tenant = this.#tenants.get(name);
		if (tenant !== undefined && --tenant.waiting === 0) tenant.idleSince = now;
	}

	served(name: string, prompt: Tokens, answer: Tokens, firstTokenMs: Millis, finishedMs: Millis): void {
		const tenant = this.#tenants.get(name);
		if (tenant === undefined) return;
		this.#reach(finishedMs);
		const first = Math.floor(firstTokenMs / this.#stepMs);
		const last = Math.floor(finishedMs / this.#stepMs);
		tenant.service[first]! += prompt;
		const share = (ANSWER_WEIGHT * answer) / (last - first + 1);
		for (let step = first; step <= last; step++) tenant.service[step]! += share;
	}

	report(endMs: Millis): ServiceReport {
		this.#reach(endMs);
		const steps = Math.ceil(endMs / this.#stepMs);
		const tenants = [...this.#tenants.values()];
		for (const tenant of tenants) if (tenant.waiting === 0) this.#markIdle(tenant, endMs);
		const difference = Array.from({ length: steps }, () => 0);
		let max = 0;
		for (const [index, one] of tenants.entries())
			for (const other of tenants.slice(index + 1)) max = Math.max(max, differences(one, other, difference));
		return {
			step_ms: this.#stepMs,
			tenants: tenants.map(({ name, service }) => ({ name, service_total: cumulated(service, steps) })),
			difference: difference.map(Math.round),
			max_difference: Math.round(max),
			jain_index: jain(contested(tenants, steps)),
		};
	}

	#markIdle(tenant: Tenant, now: Millis): void {
		const last = Math.min(POINTS - 1, Math.floor(now / this.#stepMs));
		tenant.idle.fill(1, Math.floor(tenant.idleSince / this.#stepMs), last + 1);
	}

	#reach(now: Millis): void {
		while (now >= POINTS * this.#stepMs) {
			this.#stepMs *= 2;
			for (const { service, idle } of this.#tenants.values()) {
				for (let at = 0; at < POINTS / 2; at++) {
					service[at] = service[2 * at]! + service[2 * at + 1]!;
					idle[at] = idle[2 * at]! | idle[2 * at + 1]!;
				}
				service.fill(0, POINTS / 2);
				idle.fill(0, POINTS / 2);
			}
		}
	}
}

/** Raises `into` to the pair's difference in each step; answers the most that one got over the other in any part of a common backlog. */
function differences(one: Tenant, other: Tenant, into: number[]): number {
	let max = 0;
	let sum = 0;
	let lowest = 0;
	let highest = 0;
	for (let step = 0; step < into.length; step++) {
		if (one.idle[step] === 1 || other.idle[step] === 1) {
			sum = lowest = highest = 0;
			continue;
		}
		sum += one.service[step]! - other.service[step]!;
		lowest = Math.min(lowest, sum);
		highest = Math.max(highest, sum);
		max = Math.max(max, highest - lowest);
		into[step] = Math.max(into[step]!, Math.abs(sum));
	}
	return max;
}

function contested(tenants: readonly Tenant[], steps: number): readonly number[] {
	const sums = tenants.map(() => 0);
	for (let step = 0; step < steps; step++) {
		const backlogged = tenants.filter(({ idle }) => idle[step] === 0);
		if (backlogged.length < 2) continue;
		for (const [index, tenant] of tenants.entries()) if (tenant.idle[step] === 0) sums[index]! += tenant.service[step]!;
	}
	return sums.filter((sum) => sum > 0);
}

/** (Σx)² / (n Σx²): 1 when all got the same, 1/n when one got everything (Jain, Chiu and Hawe, 1984). */
export function jain(values: readonly number[]): number {
	let sum = 0;
	let squares = 0;
	for (const value of values) {
		sum += value;
		squares += value * value;
	}
	return squares === 0 ? 1 : Math.round((sum ** 2 / (values.length * squares)) * 10_000) / 10_000;
}

function cumulated(values: Float64Array, steps: number): readonly number[] {
	let sum = 0;
	return Array.from(values.subarray(0, steps), (value) => {
		sum += value;
		return Math.round(sum);
	});
}
