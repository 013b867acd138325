/**
 * What any database that offers `Stores` must do. A store's test file calls `describeStores` with a factory; nothing here knows
 * which one it is. Every test gets a fresh, empty store and a clock that it moves itself.
 */
import { afterEach, beforeEach, describe } from "vitest";
import type { Stores } from "../../src/ports/stores.ts";
import { describeAccountStore } from "./account-store-contract.ts";
import { describeLedgerStore } from "./ledger-store-contract.ts";
import { describePolicyStore } from "./policy-store-contract.ts";
import { describeQuotaStore } from "./quota-store-contract.ts";
import { describeRuleStore } from "./rule-store-contract.ts";
import { START, type StoresUnderTest } from "./subject.ts";
import { describeTokenStore } from "./token-store-contract.ts";
import { describeWindowStore } from "./window-store-contract.ts";

/** Opens an empty store that reads the given wall clock. */
export type OpenStores = (epochNow: () => number) => Promise<Stores>;

export function describeStores(name: string, open: OpenStores): void {
	describe(name, () => {
		const subject = {} as { -readonly [K in keyof StoresUnderTest]: StoresUnderTest[K] };
		beforeEach(async () => {
			subject.now = START;
			subject.stores = await open(() => subject.now);
		});
		afterEach(() => subject.stores.close());
		describeAccountStore(subject);
		describeTokenStore(subject);
		describeRuleStore(subject);
		describeQuotaStore(subject);
		describeWindowStore(subject);
		describePolicyStore(subject);
		describeLedgerStore(subject);
	});
}
