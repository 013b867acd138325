/**
 * What the mock LLM says: one made-up word per token, determined by seed, prompt and place, so that no text has to be kept.
 */
import { hashText, Random } from "../simulate/random.ts";

const SYLLABLES = [
	"ka",
	"lo",
	"mi",
	"ne",
	"ru",
	"sa",
	"te",
	"vo",
	"shi",
	"pra",
	"dol",
	"fen",
	"gar",
	"hul",
	"jin",
	"bex",
];
const WORDS: readonly string[] = SYLLABLES.flatMap((head) => SYLLABLES.map((tail) => head + tail));

/** Output lengths of public chat traces: median 134 tokens, long tail. */
const NATURAL_MEDIAN_TOKENS = 134;
const NATURAL_SIGMA = 0.8;
const NATURAL_MAX_TOKENS = 2048;

/** The `index`-th token of an answer, with the space before it. */
export function tokenText(answerSeed: number, index: number): string {
	const word = WORDS[(Math.imul(answerSeed + index * 2 + 1, 0x9e3779b1) >>> 24) % WORDS.length] as string;
	return index === 0 ? word : ` ${word}`;
}

/** Tokens `from` (included) to `to` (excluded). */
export function tokensText(answerSeed: number, from: number, to: number): string {
	let text = "";
	for (let index = from; index < to; index++) text += tokenText(answerSeed, index);
	return text;
}

/** Where the model would end by itself. */
export function naturalLength(answerSeed: number): number {
	const drawn = Math.round(new Random(answerSeed).logNormal(NATURAL_MEDIAN_TOKENS, NATURAL_SIGMA));
	return Math.max(1, Math.min(NATURAL_MAX_TOKENS, drawn));
}

/** One seed per answer. */
export function answerSeedOf(seed: number, prompt: string, sequence: number): number {
	return hashText(prompt, seed + sequence);
}

/** A vector of length 1, the same for the same text. */
export function embeddingOf(answerSeed: number, dimensions: number): Float32Array {
	const random = new Random(answerSeed);
	const vector = Float32Array.from({ length: dimensions }, () => random.normal());
	const length = Math.hypot(...vector);
	return vector.map((value) => value / length);
}
