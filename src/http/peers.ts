/** Who is at the other end: the socket's peer, or behind trusted proxies the nearest hop that is none of them (from the right). */

import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

export class AddressSet {
	readonly #list = new BlockList();

	/** @param cidrs `10.0.0.0/8`, `::1/128`, or single addresses */
	constructor(cidrs: readonly string[]) {
		for (const cidr of cidrs) {
			const [address = "", bits] = cidr.split("/");
			const family = isIP(address) === 6 ? "ipv6" : "ipv4";
			this.#list.addSubnet(address, bits === undefined ? (family === "ipv6" ? 128 : 32) : Number(bits), family);
		}
	}

	has(address: string): boolean {
		const family = isIP(address);
		return family !== 0 && this.#list.check(address, family === 6 ? "ipv6" : "ipv4");
	}
}

/** IPv4 in its IPv6 form is the IPv4 address. */
export function plainAddress(address: string): string {
	return address.startsWith("::ffff:") && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}

export function peerAddress(request: IncomingMessage, trustedProxies: AddressSet): string {
	let peer = plainAddress(request.socket.remoteAddress ?? "");
	if (!trustedProxies.has(peer)) return peer;
	const forwarded = request.headers["x-forwarded-for"];
	const hops = (Array.isArray(forwarded) ? forwarded.join(",") : (forwarded ?? "")).split(",");
	for (let at = hops.length - 1; at >= 0; at--) {
		const hop = plainAddress((hops[at] ?? "").trim());
		if (isIP(hop) === 0) return peer;
		peer = hop;
		if (!trustedProxies.has(peer)) return peer;
	}
	return peer;
}
