/**
 * The benchmark's search and tally against an engine model in virtual time, and what that model really sustains: a run of minutes takes
 * milliseconds, and the same seed gives the same result. For tests of the search; the real thing is `benchmark.ts`.
 *
 * Units: milliseconds of the engine's time, tokens.
 */
import type { Millis, Tokens } from "../core/model/units.ts";
import { EngineModel } from "../simulate/engine-model.ts";
import type { EngineProfile } from "../simulate/engine-profiles.ts";
import { Random } from "../simulate/random.ts";
import { KneeSearch } from "./benchmark-search.ts";
import { BenchmarkTally } from "./benchmark-tally.ts";
import { balancedWorkload, type WorkloadProfile, workload } from "./workload-profiles.ts";

/** Tokens per second, prompt and answer, that the engine works through when a hundred requests always wait. */
export function trueCapacity(profile: EngineProfile, mix: WorkloadProfile, seed: number, forMs: Millis): number {
	const engine = new EngineModel(profile, { emitTokens: false });
	const requests = workload(mix, seed);
	const sizes = new Map<number, Tokens>();
	const fill = (now: Millis) => {
		while (engine.waiting < 100) {
			const { promptTokens, completionTokens } = requests.next().value;
			if (!engine.fits(promptTokens, completionTokens)) continue;
			engine.submit(id, promptTokens, completionTokens, now);
			sizes.set(id++, promptTokens + completionTokens);
		}
	};
	let id = 0;
	// What the engine read anew after a preemption helps nobody, so its own totals would flatter it.
	let tokens = 0;
	const run = (until: Millis): Tokens => {
		fill(0);
		for (let at = engine.nextEventAt(); at <= until; at = engine.nextEventAt()) {
			engine.step(at);
			for (let event = engine.nextEvent(); event !== undefined; event = engine.nextEvent()) {
				if (event.kind !== "finished") continue;
				tokens += sizes.get(event.id)!;
				sizes.delete(event.id);
			}
			fill(at);
		}
		return tokens;
	};
	// Full first.
	const before = run(forMs / 5);
	return ((run(forMs * 1.2) - before) / forMs) * 1000;
}

export interface VirtualOutcome {
	readonly search: KneeSearch;
	readonly tally: BenchmarkTally;
}

export function virtualBenchmark(
	profile: EngineProfile,
	mix: WorkloadProfile,
	{ durationMs, seed, ttftP95Ms }: { readonly durationMs: Millis; readonly seed: number; readonly ttftP95Ms: Millis },
): VirtualOutcome {
	const engine = new EngineModel(profile, { emitTokens: false });
	const requests = balancedWorkload(mix, seed);
	const gaps = new Random(`arrivals ${seed}`);
	const tally = new BenchmarkTally();
	const running = new Map<
		number,
		{ dueMs: Millis; streamed: boolean; prompt: Tokens; completion: Tokens; ttftMs: Millis }
	>();
	const idle = new EngineModel(profile, { emitTokens: false });
	idle.submit(0, Math.round(mix.prompt.mean), Math.round(mix.completion.mean), 0);
	let idleLatencyMs = 0;
	for (let at = idle.nextEventAt(); Number.isFinite(at); at = idle.nextEventAt()) {
		idle.step(at);
		idleLatencyMs = at;
	}
	const search = new KneeSearch({
		durationMs,
		ttftP95Ms,
		failureRate: 0.01,
		idleLatencyMs,
		startMs: 0,
		streamingRatio: mix.streamingRatio,
	});
	tally.begin(search.current);
	let id = 0;
	let over = false;
	let due = 0;
	const schedule = () => {
		const step = search.current;
		const rate = search.rateNow(tally.waiting, tally.completedRate(due));
		if (rate === 0) due = Math.max(due, step.endMs) + 1;
		else due += Math.min(gaps.exponential(1000 / rate), step.endMs - step.startMs);
	};
	schedule();
	for (;;) {
		const stepEnd = over ? Number.POSITIVE_INFINITY : search.current.endMs;
		const arrival = over ? Number.POSITIVE_INFINITY : due;
		const now = Math.min(stepEnd, arrival, engine.nextEventAt());
		if (!Number.isFinite(now)) break;
		while (engine.nextEventAt() <= now) {
			engine.step(now);
			for (let event = engine.nextEvent(); event !== undefined; event = engine.nextEvent()) {
				const entry = running.get(event.id)!;
				if (event.kind === "first_token") {
					entry.ttftMs = event.at - entry.dueMs;
					if (entry.streamed) tally.firstToken(entry.dueMs, entry.ttftMs);
				} else if (event.kind === "finished") {
					running.delete(event.id);
					tally.add(
						{
							tier: "",
							atMs: entry.dueMs,
							status: 200,
							ttftMs: entry.ttftMs,
							totalMs: event.at - entry.dueMs,
							promptTokens: entry.prompt,
							completionTokens: entry.completion,
							aborted: false,
							headers: {},
						},
						entry.streamed,
						event.at,
					);
				}
			}
		}
		if (arrival <= now) {
			const { promptTokens, completionTokens, streaming } = requests.next().value;
			if (engine.fits(promptTokens, completionTokens)) {
				engine.submit(id, promptTokens, completionTokens, now);
				running.set(id++, {
					dueMs: due,
					streamed: streaming,
					prompt: promptTokens,
					completion: completionTokens,
					ttftMs: 0,
				});
				tally.sent(due, streaming);
			}
			schedule();
		}
		if (stepEnd <= now) {
			const step = search.next(tally.outcome(now));
			if (step === undefined) over = true;
			else tally.begin(step);
		}
	}
	return { search, tally };
}
