/** `GET /v1/models`: what the pools list, aliases added, narrowed to what the token may use. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RoutingMetadata } from "../core/model/routing.ts";
import { openaiDialect } from "../protocol/dialects.ts";
import { listedModels } from "../protocol/engines/models-list.ts";
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
	const lists = await Promise.allSettled(
		plane.poolNames.map((_, pool) => plane.upstreams.get(pool, 0, "/v1/models", TIMEOUT_MS)),
	);
	const models = new Map<string, unknown>();
	for (const list of lists) {
		if (list.status !== "fulfilled" || list.value.status !== 200) continue;
		for (const model of listedModels(parse(list.value.text))) {
			const id = model["id"];
			if (typeof id === "string" && mayUse(classified.metadata, id) && !models.has(id)) models.set(id, model);
		}
	}
	if (lists.every((list) => list.status === "rejected")) {
		sendError(response, openaiDialect, { code: "upstream_unavailable", message: "no provider answers" }, requestId);
		return;
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

function mayUse(metadata: RoutingMetadata, model: string): boolean {
	const allowed = metadata.token?.allowedModels;
	return (
		allowed === undefined ||
		allowed.some((pattern) => pattern === model || (pattern.endsWith("*") && model.startsWith(pattern.slice(0, -1))))
	);
}

function parse(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
