/**
 * The fluid reference of fair queuing: Generalised Processor Sharing (Parekh & Gallager, IEEE/ACM Transactions on Networking 1993),
 * exact, from arrivals and costs alone. Shares no code with the core.
 *
 * A server of rate C serves every client that has work at once, each at C · weight ÷ Σ weights of those with work. With virtual time
 * V growing at C ÷ Σ weights, a request's finish tag is `max(V at its arrival, the client's last tag) + cost ÷ weight`, and it leaves
 * when V reaches its tag. Between two events the sum is constant, so every instant is computed, none is searched for.
 *
 * Units: cost, milliseconds, cost per millisecond.
 */
import { NumberHeap } from "./number-heap.ts";

export interface FluidRequest {
	readonly arrivalMs: number;
	readonly client: number;
	readonly cost: number;
}

/** When each request leaves the fluid system. Requests in the order of arrival; one weight per client. */
export function fluidFinishes(
	requests: readonly FluidRequest[],
	weights: readonly number[],
	costPerMs: number,
): Float64Array {
	const finishes = new Float64Array(requests.length);
	const lastTag = new Float64Array(weights.length);
	const left = new Int32Array(weights.length);
	const byTag = new NumberHeap();
	let virtual = 0;
	let now = 0;
	let activeWeight = 0;
	const leave = (until: number) => {
		while (byTag.size > 0) {
			const at = now + ((byTag.first - virtual) * activeWeight) / costPerMs;
			if (at > until) break;
			virtual = byTag.first;
			now = Math.max(now, at);
			const index = byTag.pop();
			finishes[index] = now;
			const { client } = requests[index]!;
			left[client] = left[client]! - 1;
			if (left[client] === 0) activeWeight -= weights[client]!;
		}
		if (byTag.size > 0) virtual += ((until - now) * costPerMs) / activeWeight;
		else activeWeight = 0;
		now = until;
	};
	for (const [index, { arrivalMs, client, cost }] of requests.entries()) {
		leave(arrivalMs);
		if (byTag.size === 0) {
			virtual = 0;
			lastTag.fill(0);
		}
		if (left[client] === 0) activeWeight += weights[client]!;
		left[client] = left[client]! + 1;
		const tag = Math.max(virtual, lastTag[client]!) + cost / weights[client]!;
		lastTag[client] = tag;
		byTag.push(tag, index);
	}
	leave(Number.POSITIVE_INFINITY);
	return finishes;
}

/**
 * When a request is expected to come to a client that has the rate C · weight ÷ Σ of all weights to itself (Goyal, Vin, Cheng, 1996):
 * at its arrival, but not before the one ahead of it is served at that rate.
 */
export function expectedArrivals(
	requests: readonly FluidRequest[],
	weights: readonly number[],
	costPerMs: number,
): Float64Array {
	const all = weights.reduce((sum, weight) => sum + weight, 0);
	const free = new Float64Array(weights.length);
	return Float64Array.from(requests, ({ arrivalMs, client, cost }) => {
		const expected = Math.max(arrivalMs, free[client]!);
		free[client] = expected + (cost * all) / (weights[client]! * costPerMs);
		return expected;
	});
}
