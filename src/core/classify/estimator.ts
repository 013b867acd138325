/**
 * Estimates the tokens of a request before it runs, and learns from the usage that comes back (design 01 §1).
 *
 * Learnt per model: characters per prompt token (ratio of two EWMAs, so long prompts count for more; one sample counts for at most
 * `MAX_SAMPLE_TOKENS`) and the P75 of completion tokens. Learnt per model and flow: the same P75, starting where the model's stands, and
 * the share of prompt tokens that came from the prefix cache.
 *
 * Invariants: only `learn` creates state, so requests that never ran leave nothing; at most `maxModels` models and `maxFlows` flows over
 * all models are kept, the longest unlearnt go first and fall back to their model's, then to the start values. Everything O(1)
 * (forgetting a model costs what its flows cost to create). A wrong estimate is trued up at the end: nothing here is a limit.
 */
import type { RequestFacts } from "../model/request-facts.ts";
import type { Tokens } from "../model/units.ts";
import type { Usage } from "../model/usage.ts";
import { StreamingQuantile } from "./streaming-quantile.ts";

export interface Estimate {
	promptTokens: Tokens;
	/** Over all sequences. */
	completionTokens: Tokens;
	/** Of the prompt tokens, for cost only: capacity counts the whole prompt. */
	cachedTokens: Tokens;
}

export interface EstimatorOptions {
	/** Completion tokens expected of a model that has answered nothing yet (`cost.initial_completion`). */
	readonly initialCompletion?: Tokens;
	readonly maxModels?: number;
	readonly maxFlows?: number;
}

const INITIAL_CHARS_PER_TOKEN = 4;
/** What one token may be worth in characters, whatever an engine reports. */
const MIN_CHARS_PER_TOKEN = 0.25;
const MAX_CHARS_PER_TOKEN = 32;
const RATIO_GAIN = 0.05;
/** Tokens behind the initial ratio, and the most that one request's prompt counts for. */
const INITIAL_SAMPLE_TOKENS = 256;
const MAX_SAMPLE_TOKENS = 2048;
const CACHED_GAIN = 0.1;
const COMPLETION_QUANTILE = 0.75;

interface ModelState {
	chars: number;
	tokens: number;
	readonly completion: StreamingQuantile;
	readonly flows: Map<string, FlowState>;
}

/** A flow of a model, and its place in the list of all flows by last use. */
interface FlowState {
	readonly key: string;
	readonly model: ModelState;
	readonly completion: StreamingQuantile;
	promptTokens: number;
	cachedTokens: number;
	newer: FlowState;
	older: FlowState;
}

export class Estimator {
	readonly #initialCompletion: Tokens;
	readonly #maxModels: number;
	readonly #maxFlows: number;
	/** In order of last use. */
	readonly #models = new Map<string, ModelState>();
	/** Ends of the list of flows: `older` of it is the newest, `newer` the oldest. */
	readonly #ends: FlowState;
	#flowCount = 0;
	/** The last of #models. */
	#latestModel = "";
	readonly #estimate: Estimate = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };

	constructor(options: EstimatorOptions = {}) {
		this.#initialCompletion = options.initialCompletion ?? 256;
		this.#maxModels = options.maxModels ?? 256;
		this.#maxFlows = options.maxFlows ?? 20_000;
		this.#ends = newFlow("", newModel(this.#initialCompletion));
	}

	/** Prompt tokens alone: what the check against the context length needs. */
	promptTokens(facts: RequestFacts, model: string): Tokens {
		return promptTokensOf(facts, this.#models.get(model));
	}

	/**
	 * `contextLeft`: tokens of the model's context that the prompt leaves to one sequence. The object returned is reused by the
	 * next call.
	 */
	estimate(facts: RequestFacts, model: string, flowKey: string, contextLeft = Number.POSITIVE_INFINITY): Estimate {
		const modelState = this.#models.get(model);
		const flow = modelState?.flows.get(flowKey);
		const estimate = this.#estimate;
		estimate.promptTokens = promptTokensOf(facts, modelState);
		if (facts.operation === "embedding" || facts.operation === "count_tokens") {
			estimate.completionTokens = 0;
		} else {
			const learnt = Math.ceil((flow ?? modelState)?.completion.value ?? this.#initialCompletion);
			const perSequence = Math.max(0, Math.min(facts.maxTokens ?? Number.POSITIVE_INFINITY, contextLeft, learnt));
			estimate.completionTokens = perSequence * facts.sequences;
		}
		estimate.cachedTokens =
			flow === undefined ? 0 : Math.floor((estimate.promptTokens * flow.cachedTokens) / Math.max(1, flow.promptTokens));
		return estimate;
	}

	/**
	 * Takes in the usage of a finished request that generated text or embeddings. Usage that no engine measured teaches nothing.
	 * `sequences` and `promptExtraTokens` as in the request's facts.
	 */
	learn(
		model: string,
		flowKey: string,
		promptChars: number,
		usage: Usage,
		sequences = 1,
		promptExtraTokens: Tokens = 0,
	): void {
		if (usage.source !== "measured") return;
		const modelState = this.#touchModel(model);
		learnRatio(modelState, promptChars, usage.promptTokens - promptExtraTokens);
		const perSequence = usage.completionTokens / Math.max(1, sequences);
		const flow = this.#touchFlow(modelState, flowKey);
		flow.completion.observe(perSequence);
		modelState.completion.observe(perSequence);
		const cached = Math.min(Math.max(0, usage.cachedTokens), usage.promptTokens);
		flow.promptTokens += CACHED_GAIN * (usage.promptTokens - flow.promptTokens);
		flow.cachedTokens += CACHED_GAIN * (cached - flow.cachedTokens);
	}

	get modelCount(): number {
		return this.#models.size;
	}

	get flowCount(): number {
		return this.#flowCount;
	}

	#touchModel(name: string): ModelState {
		const known = this.#models.get(name);
		if (known !== undefined && name === this.#latestModel) return known;
		const model = known ?? newModel(this.#initialCompletion);
		this.#models.delete(name);
		this.#models.set(name, model);
		this.#latestModel = name;
		if (this.#models.size > this.#maxModels) this.#forgetOldestModel();
		return model;
	}

	#touchFlow(model: ModelState, key: string): FlowState {
		let flow = model.flows.get(key);
		if (flow === undefined) {
			flow = newFlow(key, model);
			model.flows.set(key, flow);
			this.#flowCount++;
		} else {
			unlink(flow);
		}
		flow.newer = this.#ends;
		flow.older = this.#ends.older;
		flow.older.newer = flow;
		this.#ends.older = flow;
		if (this.#flowCount > this.#maxFlows) this.#forgetFlow(this.#ends.newer);
		return flow;
	}

	#forgetFlow(flow: FlowState): void {
		unlink(flow);
		flow.model.flows.delete(flow.key);
		this.#flowCount--;
	}

	#forgetOldestModel(): void {
		for (const [name, model] of this.#models) {
			for (const flow of model.flows.values()) this.#forgetFlow(flow);
			this.#models.delete(name);
			return;
		}
	}
}

function promptTokensOf(facts: RequestFacts, model: ModelState | undefined): Tokens {
	const charsPerToken = model === undefined ? INITIAL_CHARS_PER_TOKEN : model.chars / model.tokens;
	return Math.ceil(facts.promptChars / charsPerToken) + facts.promptExtraTokens;
}

function learnRatio(model: ModelState, chars: number, tokens: Tokens): void {
	if (!(chars > 0) || !(tokens > 0)) return;
	const ratio = Math.min(Math.max(chars / tokens, MIN_CHARS_PER_TOKEN), MAX_CHARS_PER_TOKEN);
	const weight = Math.min(tokens, MAX_SAMPLE_TOKENS);
	model.chars += RATIO_GAIN * (ratio * weight - model.chars);
	model.tokens += RATIO_GAIN * (weight - model.tokens);
}

function newModel(initialCompletion: Tokens): ModelState {
	return {
		chars: INITIAL_CHARS_PER_TOKEN * INITIAL_SAMPLE_TOKENS,
		tokens: INITIAL_SAMPLE_TOKENS,
		completion: new StreamingQuantile(COMPLETION_QUANTILE, initialCompletion),
		flows: new Map(),
	};
}

function newFlow(key: string, model: ModelState): FlowState {
	const completion = new StreamingQuantile(COMPLETION_QUANTILE, model.completion.value);
	const flow = { key, model, completion, promptTokens: 0, cachedTokens: 0 } as FlowState;
	flow.newer = flow;
	flow.older = flow;
	return flow;
}

function unlink(flow: FlowState): void {
	flow.newer.older = flow.older;
	flow.older.newer = flow.newer;
}
