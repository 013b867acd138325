/**
 * Load that goes up and down around what the engine can do, from all tiers: `rate` requests per second on average, with answers of
 * `answerTokens` on average.
 */
export function predictionScenario(requests: number, rate: number, answerTokens: number) {
	const seconds = requests / rate;
	const lengths = {
		prompt: { min: 10, max: 400, mean: 100 },
		output: { min: Math.ceil(answerTokens / 4), max: 3 * answerTokens, mean: answerTokens },
	};
	const steady = (name: string, share: number, more: object) => ({
		name,
		...more,
		rate: rate * share,
		tenants: 4,
		...lengths,
	});
	// Every tenth of the run ends with a flood.
	const period = seconds / 10;
	const floods = Array.from({ length: 10 }, (_, index) => ({
		name: "batch",
		tier: "internal",
		workload: "batch",
		rate: rate * 0.75,
		from: `${(index + 0.3) * period}s`,
		until: `${(index + 0.7) * period}s`,
		tenants: 2,
		stream: false,
		...lengths,
	}));
	return {
		duration: `${seconds}s`,
		seed: 7,
		tiers: [
			steady("production", 0.2, { tier: "internal", environment: "production" }),
			steady("staging", 0.1, { tier: "internal", environment: "staging", stream: false }),
			steady("premium", 0.15, { tier: "premium", stream: false }),
			steady("standard", 0.15, { tier: "external", stream: false }),
			steady("spot", 0.1, { tier: "spot", stream: false }),
			...floods,
		],
	};
}
