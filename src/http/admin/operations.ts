/** All operations of the admin API: what is served, documented and tested is this list. */
import { accountOperations } from "./accounts.ts";
import { auditOperations } from "./audit.ts";
import { busiestOperations } from "./busiest.ts";
import { capacityOperations } from "./capacity.ts";
import { configOperations } from "./config.ts";
import { decisionOperations } from "./decisions.ts";
import { explainOperations } from "./explain.ts";
import type { Operation } from "./operation.ts";
import { policyOperations } from "./policy.ts";
import { preemptionOperations } from "./preemptions.ts";
import { quotaOperations } from "./quotas.ts";
import { requestOperations } from "./requests.ts";
import { ruleOperations } from "./rules.ts";
import { schedulerOperations } from "./scheduler.ts";
import { shadowOperations } from "./shadow.ts";
import { tokenOperations } from "./tokens.ts";
import { usageOperations } from "./usage.ts";
import { windowOperations } from "./windows.ts";

export const adminOperations: readonly Operation[] = [
	...tokenOperations,
	...accountOperations,
	...ruleOperations,
	...policyOperations,
	...quotaOperations,
	...windowOperations,
	...usageOperations,
	...auditOperations,
	...schedulerOperations,
	...shadowOperations,
	...preemptionOperations,
	...capacityOperations,
	...busiestOperations,
	...requestOperations,
	...decisionOperations,
	...explainOperations,
	...configOperations,
];
