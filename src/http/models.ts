/** `GET /v1/models`: what the pools list, aliases added, narrowed to what is served and the token may use. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { openaiDialect } from "../protocol/dialects.ts";
import { listedModels } from "../protocol/engines/models-list.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { DataPlane } from "./data-plane.ts";
import { sendError } from "./error-response.ts";

const TIMEOUT_MS = 5000;

export function listModels(
	plane: DataPlane,
	request: IncomingMessage,
	response: ServerResponse,
	path: string,
	requestId: string,
): void {
	request.resume();
	void answer(plane, request, response, path, requestId).catch(() =>
		sendError(response, openaiDialect, { code: "internal", message: "the models could not be listed" }, requestId),
	);
}

async function answer(
	plane: DataPlane,
	request: IncomingMessage,
	response: ServerResponse,
	path: string,
	requestId: string,
): Promise<void> {
	const classified = await plane.classifier.classify(request);
	if (classified.kind === "refused") {
		sendError(response, openaiDialect, classified.refusal, requestId);
		return;
	}
	const lists = await Promise.all(plane.poolNames.map((_, pool) => listOf(plane, pool)));
	if (lists.every((list) => list === undefined)) {
		sendError(response, openaiDialect, { code: "upstream_unavailable", message: "no provider answers" }, requestId);
		return;
	}
	const models = new Map<string, unknown>();
	for (const model of lists.flatMap((list) => list ?? [])) {
		const id = model["id"];
		if (typeof id !== "string") continue;
		for (const name of plane.lifecycle.namesFor(classified.metadata, id)) {
			if (!models.has(name)) models.set(name, name === id ? model : { ...model, id: name });
		}
	}
	const one = path.startsWith("/v1/models/") ? decoded(path.slice("/v1/models/".length)) : undefined;
	if (one !== undefined && !models.has(one)) {
		sendError(
			response,
			openaiDialect,
			{ code: "not_found", message: `model ${JSON.stringify(one)} is not served here`, retryable: false },
			requestId,
		);
		return;
	}
	const body = JSON.stringify(one === undefined ? { object: "list", data: [...models.values()] } : models.get(one));
	response.writeHead(200, {
		"content-type": "application/json",
		"x-request-id": requestId,
		"content-length": Buffer.byteLength(body),
	});
	response.end(body);
}

/** As sent, when it is no percent-encoding. */
function decoded(name: string): string {
	try {
		return decodeURIComponent(name);
	} catch {
		return name;
	}
}

/** What the first endpoint of a pool to answer well lists; nothing of one that lists none; undefined when none answers. */
async function listOf(plane: DataPlane, pool: number): Promise<readonly JsonObject[] | undefined> {
	let answered = false;
	const asked = plane.engine.core.pools[pool]!.endpoints.map(async (_, endpoint) => {
		const { status, text } = await plane.upstreams.get(pool, endpoint, "/v1/models", TIMEOUT_MS);
		answered = true;
		if (status !== 200) throw new Error(`status ${status}`);
		return listedModels(parse(text));
	});
	try {
		return await Promise.any(asked);
	} catch {
		return answered ? [] : undefined;
	}
}

function parse(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
