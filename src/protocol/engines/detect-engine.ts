/**
 * The engines by name, and which one an endpoint runs (`engine = auto`): told by what its models list says about itself.
 */
import { member, stringMember } from "../json.ts";
import type { Engine, EngineName } from "./engine.ts";
import { generic } from "./generic.ts";
import { llamacpp } from "./llamacpp.ts";
import { listedModels } from "./models-list.ts";
import { ollama } from "./ollama.ts";
import { sglang } from "./sglang.ts";
import { tgi } from "./tgi.ts";
import { vllm } from "./vllm.ts";

export const ENGINES: Readonly<Record<EngineName, Engine>> = { vllm, sglang, tgi, ollama, llamacpp, generic };

export type HeaderValues = Readonly<Record<string, string | readonly string[] | undefined>>;

/** From the parsed answer of `GET /v1/models` and its response headers (names in lower case). */
export function detectEngine(models: unknown, headers: HeaderValues): Engine {
	const server = String(headers["server"] ?? "").toLowerCase();
	if (server.includes("llama.cpp")) return llamacpp;
	const entries = listedModels(models);
	for (const entry of entries) {
		const owner = stringMember(entry, "owned_by");
		if (owner === "vllm") return vllm;
		if (owner === "sglang") return sglang;
		if (owner === "llamacpp") return llamacpp;
		if (owner === "library") return ollama;
		// TGI serves one model, owned by itself, made at the beginning of time.
		if (owner !== undefined && owner === stringMember(entry, "id") && member(entry, "created") === 0) return tgi;
	}
	return generic;
}
