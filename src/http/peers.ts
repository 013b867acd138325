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

const MAPPED = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i;
/** `1.2.3.4:567` and `[::1]:567`, as some proxies write it. */
const WITH_PORT = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([^\]]+)\])(?::\d{1,5})?$/;

/** IPv4 in its IPv6 form is the IPv4 address. */
export function plainAddress(address: string): string {
	const mapped = MAPPED.exec(address)?.[1];
	return mapped !== undefined && isIP(mapped) === 4 ? mapped : address;
}

/** What stands for a hop that is no address: nobody trusts it. */
const UNKNOWN_PEER = "unknown";

export function peerAddress(request: IncomingMessage, trustedProxies: AddressSet): string {
	const socketPeer = plainAddress(request.socket.remoteAddress ?? "");
	const forwarded = request.headers["x-forwarded-for"];
	// without the header it is the proxy itself that asks
	if (forwarded === undefined || !trustedProxies.has(socketPeer)) return socketPeer;
	let peer = socketPeer;
	for (const hop of (Array.isArray(forwarded) ? forwarded.join(",") : forwarded).split(",").reverse()) {
		peer = hopAddress(hop.trim());
		if (!trustedProxies.has(peer)) return peer;
	}
	return peer;
}

function hopAddress(hop: string): string {
	const parts = WITH_PORT.exec(hop);
	const address = plainAddress(parts?.[1] ?? parts?.[2] ?? hop);
	return isIP(address) === 0 ? UNKNOWN_PEER : address;
}
