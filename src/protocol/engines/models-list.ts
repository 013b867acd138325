/**
 * The answer of `GET /v1/models`, which every engine gives in the same form with different extras.
 */
import type { Tokens } from "../../core/model/units.ts";
import { isJsonObject, type JsonObject, member, stringMember } from "../json.ts";

export function listedModels(answer: unknown): readonly JsonObject[] {
	const data = member(answer, "data");
	return Array.isArray(data) ? data.filter(isJsonObject) : [];
}

/** The entry of `model`; without it the only entry there is. */
export function listedModel(answer: unknown, model: string): JsonObject | undefined {
	const models = listedModels(answer);
	return models.find((entry) => stringMember(entry, "id") === model) ?? (models.length === 1 ? models[0] : undefined);
}

/** A length in tokens, or undefined for anything that is none. */
export function contextLength(value: unknown): Tokens | undefined {
	return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : undefined;
}
