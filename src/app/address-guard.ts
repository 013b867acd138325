/**
 * Which addresses the gateway may call on its own account (webhooks): a name is resolved, every address of it is judged, and the connection goes
 * to one that passed, so that a name cannot change its mind in between (server-side request forgery, DNS rebinding).
 */
import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { AddressSet, plainAddress } from "../http/peers.ts";

/** Never anybody's webhook: this network, link-local (cloud metadata), multicast. */
const NEVER = new AddressSet([
	"0.0.0.0/8",
	"169.254.0.0/16",
	"224.0.0.0/4",
	"240.0.0.0/4",
	"::/128",
	"fe80::/10",
	"ff00::/8",
	"fd00:ec2::254/128",
	"100.100.100.200/32",
]);
const PRIVATE = new AddressSet([
	"127.0.0.0/8",
	"10.0.0.0/8",
	"172.16.0.0/12",
	"192.168.0.0/16",
	"100.64.0.0/10",
	"192.0.0.0/24",
	"198.18.0.0/15",
	"::1/128",
	"fc00::/7",
	"64:ff9b::/96",
]);

/** Why an address may not be called; undefined when it may. */
export function refusedAddress(address: string, allowPrivate: boolean): string | undefined {
	const plain = plainAddress(address);
	if (NEVER.has(plain)) return `${plain} is never called`;
	if (!allowPrivate && PRIVATE.has(plain)) return `${plain} is a private address (alert_webhook_allow_private)`;
	return undefined;
}

/** The same for a host as a URL writes it, when it is an address and no name: those are not looked up. */
export function refusedHost(hostname: string, allowPrivate: boolean): string | undefined {
	const address = hostname.replace(/^\[|\]$/g, "");
	return isIP(address) === 0 ? undefined : refusedAddress(address, allowPrivate);
}

/** For `http.request`: resolves to addresses that may be called, or fails. */
export function guardedLookup(allowPrivate: boolean): LookupFunction {
	return (hostname, options, callback) => {
		dnsLookup(hostname, { ...options, all: true }, (error, found) => {
			if (error !== null) {
				callback(error, "", 0);
				return;
			}
			const addresses = found as LookupAddress[];
			const refused = addresses.map(({ address }) => refusedAddress(address, allowPrivate)).find(Boolean);
			if (refused !== undefined || addresses.length === 0) {
				callback(new Error(refused ?? `${hostname} has no address`), "", 0);
			} else if (options.all === true) {
				callback(null, addresses);
			} else {
				callback(null, addresses[0]!.address, addresses[0]!.family);
			}
		});
	};
}
