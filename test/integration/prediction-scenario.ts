/**
 * Peaks of all tiers, one after the other, around what the engine can do: `rate` requests per second on average, with answers of
 * `answerTokens` on average, about `requests` of them.
 *
 * Every tier asks for ten seconds of each forty. That makes its waits a matter of how far its peak exceeds what it is given, thirty times over.
 * Waits that only chance makes differ by a third between two simulations of hardly different delays; no prediction can hit those.
 */
export function predictionScenario(requests: number, rate: number, answerTokens: number, seed = 7) {
	const lengths = {
		prompt: { min: 10, max: 400, mean: 100 },
		output: { min: Math.ceil(answerTokens / 4), max: 3 * answerTokens, mean: answerTokens },
	};
	const peaks = (name: string, share: number, from: number, more: object) => ({
		name,
		...more,
		rate: rate * share * 4,
		from: `${from}s`,
		on: "10s",
		off: "30s",
		tenants: 4,
		...lengths,
	});
	return {
		duration: `${requests / rate}s`,
		seed,
		tiers: [
			peaks("production", 0.31, 0, { tier: "internal", environment: "production" }),
			peaks("staging", 0.14, 8, { tier: "internal", environment: "staging", stream: false }),
			peaks("premium", 0.17, 8, { tier: "premium", stream: false }),
			peaks("standard", 0.125, 16, { tier: "external", stream: false }),
			peaks("spot", 0.095, 16, { tier: "spot", stream: false }),
			peaks("batch", 0.16, 24, { tier: "internal", workload: "batch", stream: false }),
		],
	};
}
