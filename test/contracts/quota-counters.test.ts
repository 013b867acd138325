/** Every implementation of the quota counters takes the same exam. */
import { MemoryQuotaCounters } from "../../src/stores/memory/quota-counters.ts";
import { describeQuotaCounters } from "./quota-counters-contract.ts";

describeQuotaCounters("in this process", async () => new MemoryQuotaCounters());
