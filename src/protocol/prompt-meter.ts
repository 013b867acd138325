/**
 * Counts what a prompt weighs: characters of all text, and a fixed number of tokens for what is not text. The base64 of a picture
 * is not text, so it is never counted as such.
 *
 * The constants are what common models charge for an ordinary item: a picture of about one megapixel, half a minute of sound, a
 * document of a few pages, ten seconds of video. They only have to be of the right order; usage trues them up.
 */
import type { Tokens } from "../core/model/units.ts";
import { member, stringMember } from "./json.ts";

export const IMAGE_TOKENS: Tokens = 1200;
/** A picture sent with `detail: "low"`. */
export const LOW_DETAIL_IMAGE_TOKENS: Tokens = 85;
export const AUDIO_TOKENS: Tokens = 750;
export const DOCUMENT_TOKENS: Tokens = 4000;
export const VIDEO_TOKENS: Tokens = 5000;

/** Deeper than any honest schema; engines' own parsers give up not far beyond. */
export const MAX_DEPTH = 100;

const MEDIA_TOKENS: ReadonlyMap<string, Tokens> = new Map([
	["image_url", IMAGE_TOKENS],
	["input_image", IMAGE_TOKENS],
	["image", IMAGE_TOKENS],
	["input_audio", AUDIO_TOKENS],
	["audio_url", AUDIO_TOKENS],
	["audio", AUDIO_TOKENS],
	["file", DOCUMENT_TOKENS],
	["input_file", DOCUMENT_TOKENS],
	["document", DOCUMENT_TOKENS],
	["video_url", VIDEO_TOKENS],
	["video", VIDEO_TOKENS],
]);

/** Members that name or link things; templates render them as a few tokens or not at all. */
const NOT_PROMPT: ReadonlySet<string> = new Set([
	"type",
	"role",
	"id",
	"call_id",
	"tool_call_id",
	"tool_use_id",
	"cache_control",
	"signature",
	"encrypted_content",
]);

export class PromptMeter {
	chars = 0;
	extraTokens: Tokens = 0;
	/** Something was nested deeper than `MAX_DEPTH` and was not counted to its end. */
	tooDeep = false;

	/** Messages, content parts, system prompts: every string counts, media by their constants. */
	content(value: unknown, depth = 0): void {
		if (typeof value === "string") this.chars += value.length;
		else if (typeof value !== "object" || value === null) return;
		else if (depth >= MAX_DEPTH) this.tooDeep = true;
		else if (Array.isArray(value)) for (const item of value) this.content(item, depth + 1);
		else if (!this.#media(value)) {
			for (const key of Object.keys(value))
				if (!NOT_PROMPT.has(key)) this.content((value as Record<string, unknown>)[key], depth + 1);
		}
	}

	/** Tool definitions: a model reads their keys too. */
	schema(value: unknown, depth = 0): void {
		if (typeof value === "string") this.chars += value.length;
		else if (typeof value !== "object" || value === null) return;
		else if (depth >= MAX_DEPTH) this.tooDeep = true;
		else if (Array.isArray(value)) for (const item of value) this.schema(item, depth + 1);
		else
			for (const key of Object.keys(value)) {
				this.chars += key.length;
				this.schema((value as Record<string, unknown>)[key], depth + 1);
			}
	}

	#media(part: object): boolean {
		const type = stringMember(part, "type");
		const tokens = type === undefined ? undefined : MEDIA_TOKENS.get(type);
		if (tokens === undefined) return false;
		if (type === "document") {
			const source = member(part, "source");
			const kind = stringMember(source, "type");
			if (kind === "text" || kind === "content") {
				this.content(member(source, kind === "text" ? "data" : "content"), 1);
				return true;
			}
		}
		const low =
			tokens === IMAGE_TOKENS &&
			(stringMember(part, "detail") ?? stringMember(member(part, "image_url"), "detail")) === "low";
		this.extraTokens += low ? LOW_DETAIL_IMAGE_TOKENS : tokens;
		return true;
	}
}
