/**
 * Who may use the admin plane: whoever has the admin token. Browsers that open the documentation may send it as the password of Basic
 * authentication; nothing else takes that, since a browser would repeat it for other sites' forms.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { type AdminRefusal, refuse } from "./admin-error.ts";

export class AdminAccess {
	readonly #expected: Buffer;

	constructor(adminToken: string) {
		this.#expected = digest(adminToken);
	}

	/** Why it is refused, or nothing. */
	check(authorization: string | undefined, allowBasic: boolean): AdminRefusal | undefined {
		const token = bearerOf(authorization) ?? (allowBasic ? passwordOf(authorization) : undefined);
		if (token === undefined) {
			return refuse("missing_token", "no admin token: send Authorization: Bearer with the admin token");
		}
		// digests have one length whatever the token's, and comparing them says nothing about the token
		if (timingSafeEqual(digest(token), this.#expected)) return undefined;
		return refuse("unknown_token", "this is not the admin token");
	}
}

function digest(text: string): Buffer {
	return createHash("sha256").update(text).digest();
}

function bearerOf(authorization: string | undefined): string | undefined {
	return /^bearer +(\S+)\s*$/i.exec(authorization ?? "")?.[1];
}

function passwordOf(authorization: string | undefined): string | undefined {
	const encoded = /^basic +(\S+)\s*$/i.exec(authorization ?? "")?.[1];
	if (encoded === undefined) return undefined;
	const pair = Buffer.from(encoded, "base64").toString();
	return pair.slice(pair.indexOf(":") + 1) || undefined;
}
