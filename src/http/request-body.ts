/** Reads a request body whole, within its limits, decoded: an answer is the bytes or a refusal, never an exception. */
import type { IncomingMessage } from "node:http";
import type { Transform } from "node:stream";
import { createBrotliDecompress, createGunzip } from "node:zlib";
import type { Refusal } from "../core/model/error-code.ts";
import type { Millis } from "../core/model/units.ts";

export interface BodyLimits {
	readonly maxBytes: number;
	readonly timeoutMs: Millis;
}

export type BodyReading =
	| { readonly ok: true; readonly body: Buffer }
	| { readonly ok: false; readonly refusal: Refusal };

/** Calls back once. `client_closed` when the client went away in the middle. */
export function readBody(request: IncomingMessage, limits: BodyLimits, done: (reading: BodyReading) => void): void {
	const declared = Number(request.headers["content-length"]);
	if (declared > limits.maxBytes) {
		done(tooLarge(limits.maxBytes));
		return;
	}
	const decoder = decoderFor(request.headers["content-encoding"]);
	if (typeof decoder === "string") {
		done(refuse("invalid_request", decoder, "content-encoding"));
		return;
	}
	const chunks: Buffer[] = [];
	let size = 0;
	let over = false;
	const finish = (reading: BodyReading) => {
		if (over) return;
		over = true;
		clearTimeout(timer);
		decoder?.destroy();
		done(reading);
	};
	const timer = setTimeout(
		() => finish(refuse("request_timeout", `the body did not arrive within ${limits.timeoutMs / 1000} s`)),
		limits.timeoutMs,
	);
	const source = decoder === undefined ? request : request.pipe(decoder);
	source.on("data", (chunk: Buffer) => {
		size += chunk.length;
		if (size > limits.maxBytes) finish(tooLarge(limits.maxBytes));
		else if (!over) chunks.push(chunk);
	});
	source.on("end", () => finish({ ok: true, body: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size) }));
	source.on("error", () =>
		finish(
			decoder === undefined
				? refuse("client_closed", "the client went away")
				: refuse("invalid_request", "the body cannot be decoded as its content-encoding says", "content-encoding"),
		),
	);
	// A request closes once it was read, too: what it packed may take longer to unpack.
	request.on("close", () => {
		if (!request.complete) finish(refuse("client_closed", "the client went away"));
	});
}

function decoderFor(encoding: string | undefined): Transform | string | undefined {
	switch (encoding?.trim().toLowerCase()) {
		case undefined:
		case "":
		case "identity":
			return undefined;
		case "gzip":
			return createGunzip();
		case "br":
			return createBrotliDecompress();
		default:
			return `content-encoding ${JSON.stringify(encoding)} is not understood; allowed: gzip, br, identity`;
	}
}

function tooLarge(maxBytes: number): BodyReading {
	return refuse("body_too_large", `the body is larger than ${maxBytes} bytes`);
}

function refuse(code: Refusal["code"], message: string, param?: string): BodyReading {
	return { ok: false, refusal: { code, message, retryable: false, ...(param === undefined ? {} : { param }) } };
}
