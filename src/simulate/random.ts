/**
 * Seeded randomness for simulations and load: the same seed gives the same numbers on every machine.
 *
 * Source: xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), its state filled by the
 * 32-bit finaliser of MurmurHash3 over a Weyl sequence, as its authors advise. Not for secrets.
 */

export class Random {
	#a: number;
	#b: number;
	#c: number;
	#d: number;
	/** Box–Muller gives two normal numbers at a time. */
	#spareNormal: number | undefined;

	constructor(seed: number | string) {
		let state = typeof seed === "string" ? hashText(seed) : seed >>> 0;
		const next = (): number => {
			state = (state + 0x9e3779b9) >>> 0;
			return mix(state);
		};
		this.#a = next();
		this.#b = next();
		this.#c = next();
		this.#d = next() | 1; // never all zero
	}

	/** A whole number below 2³². */
	uint32(): number {
		const scrambled = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
		const shifted = this.#b << 9;
		this.#c ^= this.#a;
		this.#d ^= this.#b;
		this.#b ^= this.#c;
		this.#a ^= this.#d;
		this.#c ^= shifted;
		this.#d = rotate(this.#d, 11);
		return scrambled;
	}

	/** Uniform in [0, 1). */
	next(): number {
		return this.uint32() / 0x1_0000_0000;
	}

	/** Uniform whole number, both ends included. */
	integer(min: number, max: number): number {
		return min + Math.floor(this.next() * (max - min + 1));
	}

	/** Gaps of a Poisson process. */
	exponential(mean: number): number {
		return -mean * Math.log1p(-this.next());
	}

	normal(): number {
		const spare = this.#spareNormal;
		if (spare !== undefined) {
			this.#spareNormal = undefined;
			return spare;
		}
		const radius = Math.sqrt(-2 * Math.log1p(-this.next()));
		const angle = 2 * Math.PI * this.next();
		this.#spareNormal = radius * Math.sin(angle);
		return radius * Math.cos(angle);
	}

	/** `sigma` is the standard deviation of the logarithm; the mean is `median · exp(sigma² / 2)`. */
	logNormal(median: number, sigma: number): number {
		return median * Math.exp(sigma * this.normal());
	}

	chance(probability: number): boolean {
		return this.next() < probability;
	}
}

function rotate(value: number, bits: number): number {
	return (value << bits) | (value >>> (32 - bits));
}

function mix(value: number): number {
	let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
	mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
	return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** FNV-1a over UTF-16 code units, 32 bits: a seed out of a text. */
export function hashText(text: string, seed = 0): number {
	let hash = (0x811c9dc5 ^ seed) >>> 0;
	for (let position = 0; position < text.length; position++) {
		hash = Math.imul(hash ^ text.charCodeAt(position), 0x01000193);
	}
	return mix(hash >>> 0);
}
