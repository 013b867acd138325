/** `/v1/admin/scheduler/shadow`: how a second allocator would have put the requests since the start. */
import { z } from "zod";
import { VERDICTS } from "../../core/allocate/shadow-comparison.ts";
import { ALLOCATORS } from "../../core/model/policy.ts";
import { refuse } from "./admin-error.ts";
import { answer, type Operation, operation } from "./operation.ts";

const allocator = z.enum(ALLOCATORS);

export const shadowOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/scheduler/shadow",
			summary: "Where a shadow allocator differs from the one that acts",
			answer: z.object({
				allocator,
				shadow_allocator: allocator,
				requests: z.number().int(),
				same: z.number().int(),
				better: z.number().int().describe("the shadow would have put them into a better queue"),
				worse: z.number().int(),
				pairs: z.array(
					z.object({
						queue: z.string(),
						shadow_queue: z.string(),
						tier: z.string(),
						environment: z.string().nullable(),
						verdict: z.enum(VERDICTS),
						requests: z.number().int(),
					}),
				),
			}),
		},
		(context) => {
			if (context.shadow === undefined) {
				return refuse("not_found", "no shadow allocator runs: [request_scheduler] shadow_allocator names one");
			}
			const { allocator: acting, shadowAllocator, requests, verdicts, pairs } = context.shadow.report();
			return answer({
				allocator: acting,
				shadow_allocator: shadowAllocator,
				requests,
				...verdicts,
				pairs: pairs.map(({ queue, shadowQueue, tier, environment, verdict, requests: count }) => ({
					queue,
					shadow_queue: shadowQueue,
					tier,
					environment: environment ?? null,
					verdict,
					requests: count,
				})),
			});
		},
	),
];
