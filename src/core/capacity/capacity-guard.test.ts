import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapacityGuard, type GuardSettings } from "./capacity-guard.ts";
import { UsageMeter } from "./usage-meter.ts";

const SETTINGS: GuardSettings = {
	enabled: true,
	maxTps: 1000,
	internalLimit: 0.9,
	resume: 0.85,
	buffer: 0.1,
	bufferFor: [0],
	externalTiers: ["external", "premium", "spot"],
	action: "reject",
};

/** Internal usage of `tps` from `from` to `to`, in steps of 100 ms; answers when the guard changed. */
function drive(guard: CapacityGuard, tps: number, from: number, to: number): number[] {
	const changes: number[] = [];
	let open = guard.isOpen(from);
	for (let now = from + 100; now <= to; now += 100) {
		guard.used(false, tps / 10, now);
		if (guard.isOpen(now) === open) continue;
		open = !open;
		changes.push(now);
	}
	return changes;
}

describe("the capacity guard", () => {
	test("closes within 5 s of a burst and opens only after a minute below resume_pct", () => {
		const guard = new CapacityGuard(SETTINGS);
		expect(drive(guard, 100, 0, 60_000)).toEqual([]);
		const [closed] = drive(guard, 1000, 60_000, 80_000);
		expect(closed).toBeGreaterThan(60_000);
		expect(closed).toBeLessThanOrEqual(65_000);
		const [opened] = drive(guard, 500, 80_000, 300_000);
		expect(opened).toBeGreaterThanOrEqual(closed! + 60_000);
		expect(opened).toBeLessThanOrEqual(closed! + 61_000);
	});

	test("stays closed between resume_pct and internal_limit_pct, however long", () => {
		const guard = new CapacityGuard(SETTINGS);
		expect(drive(guard, 950, 0, 10_000)).toHaveLength(1);
		expect(drive(guard, 870, 10_000, 400_000)).toEqual([]);
		expect(guard.isOpen(400_000)).toBe(false);
	});

	test("external usage does not close it, and a disabled one is always open", () => {
		const guard = new CapacityGuard(SETTINGS);
		for (let now = 0; now < 20_000; now += 100) guard.used(true, 500, now);
		expect(guard.isOpen(20_000)).toBe(true);
		const off = new CapacityGuard({ ...SETTINGS, enabled: false });
		expect(drive(off, 5000, 0, 20_000)).toEqual([]);
	});

	test("never changes back within a minute, whatever the usage", () => {
		fc.assert(
			fc.property(
				fc.array(fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 1, max: 40 })), { maxLength: 20 }),
				(phases) => {
					const guard = new CapacityGuard(SETTINGS);
					const changes: number[] = [];
					let now = 0;
					for (const [tps, seconds] of phases) {
						changes.push(...drive(guard, tps, now, now + seconds * 1000));
						now += seconds * 1000;
					}
					// Every other change, beginning with the first, is a closing.
					for (let at = 1; at < changes.length; at += 2)
						expect(changes[at]! - changes[at - 1]!).toBeGreaterThanOrEqual(60_000);
				},
			),
		);
	});
});

test("the meter agrees with a list of everything that was used", () => {
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 100 }))), (uses) => {
			const meter = new UsageMeter();
			const all: [number, number][] = [];
			let now = 0;
			for (const [gap, tokens] of uses) {
				now += gap;
				meter.add(false, tokens, now);
				all.push([now, tokens]);
				const since = Math.floor(now / 500) * 500 - 4500;
				const sum = all.reduce((total, [at, amount]) => total + (at >= since ? amount : 0), 0);
				expect(meter.perSecond(false, 5000, now)).toBeCloseTo((sum / (4500 + Math.max(1, now % 500))) * 1000, 6);
			}
			expect(meter.perSecond(true, 60_000, now)).toBe(0);
		}),
	);
});

describe("a share of a tier", () => {
	const shared = () =>
		new CapacityGuard({
			enabled: true,
			maxTps: 1000,
			internalLimit: 0.9,
			resume: 0.85,
			buffer: 0,
			bufferFor: [],
			externalTiers: ["external", "spot"],
			action: "reject",
			tierShares: new Map([["spot", 0.2]]),
		});

	test("keeps the tier out while its usage is at it, whoever else uses what, and lets it in again by itself", () => {
		const guard = shared();
		for (let now = 0; now < 10_000; now += 100) {
			guard.used(true, 30, now, "spot");
			guard.used(true, 50, now, "external");
		}
		expect([guard.keepsOut("spot", 10_000), guard.keepsOut("external", 10_000)]).toEqual(["share", undefined]);
		expect(guard.keepsOut("spot", 16_000)).toBeUndefined();
	});

	test("a sender that asks whenever it may gets its share, over time", () => {
		const guard = shared();
		let served = 0;
		for (let now = 0; now < 300_000; now += 100) {
			if (guard.keepsOut("spot", now) !== undefined) continue;
			guard.used(true, 60, now, "spot");
			served += 60;
		}
		expect(served / 300).toBeGreaterThan(190);
		expect(served / 300).toBeLessThan(215);
	});

	test("is lifted with the window, and does nothing while the guard is off", () => {
		const guard = shared();
		for (let now = 0; now < 5000; now += 100) guard.used(true, 100, now, "spot");
		guard.configure({ enabled: false });
		expect(guard.keepsOut("spot", 5000)).toBeUndefined();
		guard.configure({ enabled: true, tierShares: new Map() });
		expect(guard.keepsOut("spot", 5000)).toBeUndefined();
	});
});
