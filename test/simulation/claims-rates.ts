/** S7 and the ceilings: what pre-paid limits admit and post-paid ceilings let through, over any interval. */
import { RateLimit } from "../../src/core/capacity/rate-limit.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { Random } from "../../src/simulate/random.ts";
import { PLAIN_CAPACITY, settingsOf } from "../properties/core-fixtures.ts";
import type { MakeCore, Outcome, Scale } from "./claim.ts";
import { azureConversations, costOf } from "./traces.ts";

const SECOND = 1000;

/** Most that was taken in any interval beyond `ratePerSec` × its length. */
function mostBeyond(taken: readonly { readonly at: number; readonly amount: number }[], ratePerSec: number): number {
	let sum = 0;
	let lowest = Number.POSITIVE_INFINITY;
	let most = 0;
	for (const { at, amount } of taken) {
		const allowed = (ratePerSec * at) / SECOND;
		lowest = Math.min(lowest, sum - allowed);
		sum += amount;
		most = Math.max(most, sum - allowed - lowest);
	}
	return most;
}

export function prepaid(_: MakeCore, scale: Scale): Outcome {
	const limit = new RateLimit(100, 1000, 0);
	const taken: { at: number; amount: number }[] = [];
	for (let i = 0; i < 600; i++) if (limit.take(50, i * 100) === 0) taken.push({ at: i * 100, amount: 50 });
	const generated = mostBeyond(taken, 100);

	// Conversations against a limit at half of what they ask for, with a burst of a few of them.
	const trace = azureConversations(scale);
	const total = trace.reduce((sum, request) => sum + costOf(request), 0);
	const rate = ((total / trace.at(-1)!.arrivalMs) * SECOND) / 2;
	const burst = 20_000;
	const real = new RateLimit(rate, burst, 0);
	const admitted: { at: number; amount: number }[] = [];
	for (const request of trace) {
		const amount = costOf(request);
		if (real.take(amount, request.arrivalMs) === 0) admitted.push({ at: request.arrivalMs, amount });
	}
	const beyond = mostBeyond(admitted, rate);
	return {
		figure: `${taken.length} admitted, ≤ ${generated.toFixed(0)} beyond the rate; conversations ≤ ${((100 * beyond) / burst).toFixed(1)} % of the burst`,
		holds: taken.length === 139 && generated <= 1000 + 1e-6 && beyond <= burst * (1 + 1e-9) && beyond > burst * 0.8,
	};
}

/** Consumption over every interval against burst + rate·τ + largest + error of the estimates. */
export function rateBound(makeCore: MakeCore): Outcome {
	let worst = 0;
	const rate = 2000;
	const random = new Random(3);
	const core = makeCore(
		settingsOf(
			{ allocator: "priority", scheduler: "wfq" },
			{
				pools: [
					{
						name: "main",
						endpoints: 1,
						capacity: { ...PLAIN_CAPACITY, maxConcurrent: 8, maxTokensPerSec: rate, burstSeconds: 1 },
					},
				],
			},
		),
	);
	const uses: { at: number; tokens: number }[] = [];
	const running: { ticket: number; at: number }[] = [];
	const largest = 900;
	let now = 0;
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") running.push({ ticket: decision.ticket, at: now + 20 });
		}
	};
	for (let i = 0; i < 3000; i++) {
		if (core.waitingCount < 20) {
			const request = submitRequest({
				flow: flowPath([`f${i % 3}`]),
				queue: i % 5,
				promptTokens: 300,
				completionTokens: 300,
			});
			core.submit(request, now);
			drain();
		}
		if (running[0] !== undefined && running[0].at <= now) {
			const completionTokens = random.integer(0, largest - 300);
			uses.push({ at: now, tokens: 300 + completionTokens });
			core.finish(running.shift()!.ticket, { promptTokens: 300, completionTokens, cachedTokens: 0 }, now);
			drain();
		}
		now += 5;
		core.advance(now);
		drain();
	}
	// Beyond the burst and one largest request: the error of the estimates of what runs at a time.
	const slack = rate + largest + 8 * 300;
	for (let from = 0; from < uses.length; from++) {
		let sum = 0;
		for (let to = from; to < uses.length; to++) {
			sum += uses[to]!.tokens;
			worst = Math.max(worst, sum - (rate * (uses[to]!.at - uses[from]!.at)) / SECOND);
		}
	}
	return { figure: `${worst.toFixed(0)} above the rate`, holds: worst <= slack };
}
