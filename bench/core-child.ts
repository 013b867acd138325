/**
 * One measurement of the core bench in a process of its own, so that no measurement runs code that the engine compiled for the
 * schedulers of another. Usage: core-child.ts ALLOCATOR SCHEDULER BACKLOG OPERATIONS; prints `Figures` as JSON.
 */
import { inlineMore } from "../src/cli/inlining.ts";
import { ALLOCATORS, SCHEDULERS } from "../src/core/model/policy.ts";
import { measure } from "./core-load.ts";

// As `tokligence` does.
inlineMore();
const [, , allocatorName, schedulerName, backlog, operations] = process.argv;
const allocator = ALLOCATORS.find((name) => name === allocatorName);
const scheduler = SCHEDULERS.find((name) => name === schedulerName);
if (allocator === undefined || scheduler === undefined) throw new Error(`no ${allocatorName} × ${schedulerName}`);
console.log(JSON.stringify(measure(allocator, scheduler, Number(backlog), Number(operations))));
