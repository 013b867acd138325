/**
 * Finds the first routing rule that matches a request (design 02 §1).
 *
 * Source: the bit-vector packet classification of Lakshman & Stiliadis (SIGCOMM 1998). For every match field a table from value to the
 * set of rules that accept it; a request's rule is the lowest bit of the sets' intersection. Cost: seven look-ups and one
 * word of AND per 32 rules, no allocation, and nothing that grows with the values clients send.
 *
 * Invariants: rules stand in order of `priorityOrder`, ties in the order given; disabled rules are absent; the last rule always
 * matches. A field that a rule leaves open matches anything, absent values too; an empty list matches nothing.
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { Match, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";

/** A rule in force, with its place in the order of evaluation (dense, from 0: counters per rule may be arrays). */
export interface CompiledRule {
	readonly rule: RoutingRule;
	readonly index: number;
}

/** What stands at the end when the rules given do not end in a rule that matches everything: the allocator's defaults apply. */
export const FALLBACK_RULE: RoutingRule = {
	id: "catch-all",
	name: "Catch-all",
	description: "Added because no enabled rule matches everything.",
	priorityOrder: Number.MAX_SAFE_INTEGER,
	enabled: true,
};

const MATCH_FIELDS = [
	"matchTier",
	"matchEnvironment",
	"matchAccountType",
	"matchAccountTier",
	"matchWorkload",
	"matchModel",
	"matchTag",
] as const;

const BITS = 32;

/** Rules by the value of one field; `open` holds those that accept a value nobody names, or none. */
class FieldIndex {
	readonly #open: Uint32Array;
	readonly #byValue = new Map<string, Uint32Array>();

	constructor(matches: readonly (Match | undefined)[], words: number) {
		this.#open = new Uint32Array(words);
		for (const [index, match] of matches.entries()) if (match === undefined) setBit(this.#open, index);
		for (const [index, match] of matches.entries()) {
			if (match === undefined) continue;
			for (const value of typeof match === "string" ? [match] : match) {
				let accepted = this.#byValue.get(value);
				if (accepted === undefined) {
					accepted = this.#open.slice();
					this.#byValue.set(value, accepted);
				}
				setBit(accepted, index);
			}
		}
	}

	accepting(value: string | undefined): Uint32Array {
		return value === undefined ? this.#open : (this.#byValue.get(value) ?? this.#open);
	}
}

export class RuleMatcher {
	/** In order of evaluation. */
	readonly rules: readonly CompiledRule[];
	readonly #fields: readonly FieldIndex[];
	readonly #accepted: Uint32Array[];

	constructor(rules: readonly RoutingRule[]) {
		const ordered = rules.filter((rule) => rule.enabled).sort((a, b) => a.priorityOrder - b.priorityOrder);
		if (!ordered.some(matchesEverything)) ordered.push(FALLBACK_RULE);
		this.rules = ordered.map((rule, index) => ({ rule, index }));
		const words = Math.ceil(ordered.length / BITS);
		this.#fields = MATCH_FIELDS.map(
			(field) =>
				new FieldIndex(
					ordered.map((rule) => rule[field]),
					words,
				),
		);
		this.#accepted = this.#fields.map((field) => field.accepting(undefined));
	}

	match(metadata: RoutingMetadata, model: string): CompiledRule {
		const [tier, environment, accountType, accountTier, workload, modelField, tag] = this.#fields as FieldTuple;
		const accepted = this.#accepted;
		accepted[0] = tier.accepting(metadata.tier);
		accepted[1] = environment.accepting(metadata.environment);
		accepted[2] = accountType.accepting(metadata.accountType);
		accepted[3] = accountTier.accepting(metadata.accountTier);
		accepted[4] = workload.accepting(metadata.workload);
		accepted[5] = modelField.accepting(model);
		accepted[6] = tag.accepting(metadata.tag);
		const words = accepted[0].length;
		for (let word = 0; word < words; word++) {
			let common = -1;
			for (let field = 0; field < accepted.length; field++) common &= accepted[field]![word]!;
			if (common !== 0) return this.rules[word * BITS + lowestBit(common)]!;
		}
		throw new InvariantError("no routing rule matched, although the last one matches everything");
	}
}

type FieldTuple = readonly [FieldIndex, FieldIndex, FieldIndex, FieldIndex, FieldIndex, FieldIndex, FieldIndex];

function matchesEverything(rule: RoutingRule): boolean {
	return MATCH_FIELDS.every((field) => rule[field] === undefined);
}

function setBit(set: Uint32Array, index: number): void {
	const word = Math.floor(index / BITS);
	set[word] = set[word]! | (1 << (index % BITS));
}

function lowestBit(word: number): number {
	return BITS - 1 - Math.clz32(word & -word);
}
