/**
 * Layer 1 over HTTP: who is this request from? Trusted headers, API tokens, both, or the default; design 02 §1. Answers with a value
 * when it can (known token, headers alone), with a promise when a store must be asked.
 */
import type { IncomingMessage } from "node:http";
import type { Refusal } from "../core/model/error-code.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { TokenLookup, TokenOutcome } from "../engine/token-lookup.ts";
import type { TokenIdentity } from "../ports/token-reader.ts";
import { hasRoutingHeaders, type RoutingHeaders, readRoutingHeaders } from "../protocol/request-headers.ts";
import { type AddressSet, peerAddress } from "./peers.ts";

export interface ClassifierSettings {
	readonly kind: "header" | "token" | "hybrid";
	readonly headersEnabled: boolean;
	readonly tokensEnabled: boolean;
	readonly defaultEnabled: boolean;
	readonly requireToken: boolean;
	readonly untrusted: "reject" | "ignore";
	readonly trusted: AddressSet;
	readonly trustedProxies: AddressSet;
	readonly levels: number;
	readonly failOpenPriority: number;
}

/** Told of each request that trusted headers routed, and of each refused for headers of a peer that is not trusted. */
export interface HeaderListener {
	routed(peer: string, routing: RoutingHeaders): void;
	refused(peer: string): void;
}

export type Classified =
	| { readonly kind: "classified"; readonly metadata: RoutingMetadata }
	| { readonly kind: "refused"; readonly refusal: Refusal };

const DEFAULT_IDENTITY: RoutingMetadata = { tier: "default", accountId: "default", routedBy: "default" };

const TOKEN_MESSAGES: Record<string, string> = {
	unknown_token: "this API token is not known",
	revoked_token: "this API token was revoked",
	expired_token: "this API token has expired",
	account_suspended: "the account of this API token is suspended",
	stores_unavailable: "tokens cannot be checked at the moment",
};

export class Classifier {
	readonly #settings: ClassifierSettings;
	readonly #tokens: TokenLookup;
	readonly #headers: HeaderListener | undefined;

	constructor(settings: ClassifierSettings, tokens: TokenLookup, headers?: HeaderListener) {
		this.#settings = settings;
		this.#tokens = tokens;
		this.#headers = headers;
	}

	classify(request: IncomingMessage): Classified | Promise<Classified> {
		const { kind, headersEnabled, untrusted, trusted, trustedProxies, levels, requireToken } = this.#settings;
		let routing: RoutingHeaders | undefined;
		let peer = "";
		if (kind !== "token" && headersEnabled && hasRoutingHeaders(request.headers)) {
			peer = peerAddress(request, trustedProxies);
			if (trusted.has(peer)) {
				const reading = readRoutingHeaders(request.headers, levels);
				if (!reading.ok) return { kind: "refused", refusal: reading.refusal };
				routing = reading.value;
			} else if (untrusted === "reject") {
				this.#headers?.refused(peer);
				return refuse(
					"header_routing_not_allowed",
					`X-TGW-* headers are only taken from trusted peers, ${peer} is none`,
				);
			}
		}
		const token = kind === "header" && !requireToken ? undefined : bearerOf(request);
		if (token === undefined || !this.#settings.tokensEnabled) {
			return this.#noted(this.#withoutToken(routing, peer, request), peer, routing);
		}
		const outcome = this.#tokens.lookUp(token);
		return outcome instanceof Promise
			? outcome.then((answer) => this.#noted(this.#withToken(answer, routing), peer, routing))
			: this.#noted(this.#withToken(outcome, routing), peer, routing);
	}

	#noted(classified: Classified, peer: string, routing: RoutingHeaders | undefined): Classified {
		if (routing !== undefined && classified.kind === "classified") this.#headers?.routed(peer, routing);
		return classified;
	}

	#withoutToken(routing: RoutingHeaders | undefined, peer: string, request: IncomingMessage): Classified {
		const { defaultEnabled, requireToken, kind } = this.#settings;
		if (routing?.source !== undefined && (!requireToken || defaultEnabled)) {
			return {
				kind: "classified",
				metadata: withRouting({ tier: routing.source, accountId: `peer:${peer}`, routedBy: "header" }, routing),
			};
		}
		if (defaultEnabled) {
			return {
				kind: "classified",
				metadata: routing === undefined ? DEFAULT_IDENTITY : withRouting(DEFAULT_IDENTITY, routing),
			};
		}
		const how =
			kind === "header" && request.headers["x-tgw-source"] === undefined
				? "send X-TGW-Source from a trusted peer"
				: "send Authorization: Bearer or x-api-key";
		return refuse("missing_token", `no API token: ${how}; \`tokligence token create\` makes one`);
	}

	#withToken(outcome: TokenOutcome, routing: RoutingHeaders | undefined): Classified {
		if (outcome.kind === "refused") return refuse(outcome.code, TOKEN_MESSAGES[outcome.code] ?? outcome.code);
		if (outcome.kind === "fail_open") {
			return {
				kind: "classified",
				metadata: {
					tier: "external",
					accountId: "fail_open",
					routedBy: "fail_open",
					priorityHint: this.#settings.failOpenPriority,
				},
			};
		}
		const metadata = metadataOf(outcome.identity);
		return { kind: "classified", metadata: routing === undefined ? metadata : withRouting(metadata, routing) };
	}
}

/** A source header decides the tier; environment and workload alone only fill their field. */
function withRouting(base: RoutingMetadata, routing: RoutingHeaders): RoutingMetadata {
	const { source, environment, workload, priority } = routing;
	// A header-routed request is what the peer says it is: nothing of the token but the account is kept.
	const { environment: _, workload: __, ...account } = base;
	return {
		...(source === undefined ? base : account),
		...(source === undefined ? {} : { tier: source, routedBy: "header" as const }),
		...(environment === undefined ? {} : { environment }),
		...(workload === undefined ? {} : { workload }),
		...(priority === undefined ? {} : { priorityHint: priority }),
	};
}

/** Made once per cached identity: the look-up answers with the same object until it changes. */
const METADATA = new WeakMap<TokenIdentity, RoutingMetadata>();

function metadataOf(identity: TokenIdentity): RoutingMetadata {
	const known = METADATA.get(identity);
	if (known !== undefined) return known;
	const {
		priorityTier,
		environment,
		workloadTag,
		accountId,
		organisation,
		accountType,
		accountTier,
		team,
		tokenId,
		traits,
		quotaTokensPerMonth,
		quotaTpsLimit,
	} = identity;
	const limits = {
		...(quotaTokensPerMonth === undefined ? {} : { quotaTokensPerMonth }),
		...(quotaTpsLimit === undefined ? {} : { quotaTpsLimit }),
	};
	const hasLimits = quotaTokensPerMonth !== undefined || quotaTpsLimit !== undefined;
	const metadata: RoutingMetadata = {
		tier: priorityTier,
		accountId,
		tokenId,
		routedBy: "token",
		...(environment === undefined ? {} : { environment }),
		...(workloadTag === undefined ? {} : { workload: workloadTag, tag: workloadTag }),
		...(organisation === undefined ? {} : { organisation }),
		...(accountType === undefined ? {} : { accountType }),
		...(accountTier === undefined ? {} : { accountTier }),
		...(team === undefined ? {} : { teamId: team }),
		...(traits === undefined && !hasLimits ? {} : { token: { ...traits, ...limits } }),
	};
	METADATA.set(identity, metadata);
	return metadata;
}

function bearerOf(request: IncomingMessage): string | undefined {
	const { authorization } = request.headers;
	if (authorization !== undefined && /^bearer /i.test(authorization)) return authorization.slice(7).trim() || undefined;
	const key = request.headers["x-api-key"];
	return typeof key === "string" && key !== "" ? key : undefined;
}

function refuse(code: Refusal["code"], message: string): Classified {
	return { kind: "refused", refusal: { code, message, retryable: code === "stores_unavailable" } };
}
