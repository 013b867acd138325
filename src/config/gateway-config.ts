/**
 * The configuration as the rest of the program sees it: plain, read-only, complete (defaults filled in), with units in the names. Built from
 * values that passed the schema; what they mean together is checked in `checks.ts`.
 */
import type { QueueOverrides } from "../core/allocate/queue-defaults.ts";
import type { TierMappingSettings } from "../core/allocate/tier-mapping.ts";
import type { Assignments } from "./assignments.ts";
import { capacityKeys, capacitySection, familySection, providerSection } from "./schema-capacity.ts";
import { defaultClassifierSection, headerClassifierSection, tokenClassifierSection } from "./schema-classifier.ts";
import { type Keys, type Section, sectionName, type ValuesOf } from "./schema-key.ts";
import {
	capacityGuardSection,
	contextLengthSection,
	preemptionSection,
	providersSection,
	quotasSection,
	rateLimitSection,
	timeWindowsSection,
	weightedRouterSection,
} from "./schema-later.ts";
import * as rows from "./schema-scheduler.ts";
import * as service from "./schema-service.ts";
import { Values } from "./values.ts";

type SectionValues<S> = S extends Section<infer K, infer _> ? ValuesOf<K> : never;

/** A value that the builder always settles, although the file may leave it open. */
type Settled<T, N extends keyof T> = Omit<T, N> & { readonly [P in N]: Exclude<T[P], undefined> };

/** Capacity keys of one pool: its own, else those of its provider, else those of `[capacity]`. `mode` is settled by what is set. */
export type CapacityConfig = Settled<ValuesOf<typeof capacityKeys>, "mode">;

export interface FamilyConfig {
	readonly name: string;
	/** Patterns; `*` stands for any text. */
	readonly models: readonly string[];
	readonly capacity: CapacityConfig;
}

type ProviderValues = SectionValues<typeof providerSection>;

export interface ProviderConfig extends Omit<Settled<ProviderValues, "endpoints">, keyof typeof capacityKeys> {
	readonly name: string;
	readonly capacity: CapacityConfig;
	/** Pools of their own for some of its models, in the order of the file. */
	readonly families: readonly FamilyConfig[];
}

export interface GatewayConfig {
	readonly gateway: SectionValues<typeof service.gatewaySection>;
	readonly admin: SectionValues<typeof service.adminSection>;
	readonly storage: Settled<SectionValues<typeof service.storageSection>, "dataDir">;
	readonly requestScheduler: SectionValues<typeof rows.requestSchedulerSection>;
	readonly cost: SectionValues<typeof service.costSection>;
	readonly classifier: {
		readonly header: Settled<SectionValues<typeof headerClassifierSection>, "enabled">;
		readonly token: SectionValues<typeof tokenClassifierSection>;
		readonly default: Settled<SectionValues<typeof defaultClassifierSection>, "enabled">;
	};
	/** Client's name for a model → served model. */
	readonly models: ReadonlyMap<string, string>;
	readonly allocator: {
		/** `levels`: what `[allocator.priority.level.N]` says, by level. */
		readonly priority: SectionValues<typeof rows.priorityAllocatorSection> & {
			readonly levels: ReadonlyMap<number, QueueOverrides>;
		};
		/** `buckets`: what `[allocator.bucket.N]` says, by bucket; `tierMappings`: as written, the default groups are not in it. */
		readonly bucket: SectionValues<typeof rows.bucketAllocatorSection> & {
			readonly buckets: ReadonlyMap<number, QueueOverrides>;
			readonly tierMappings: readonly TierMappingSettings[];
		};
		readonly weightedRouter: SectionValues<typeof weightedRouterSection>;
	};
	readonly scheduler: {
		readonly drr: SectionValues<typeof rows.drrSchedulerSection>;
		readonly hybrid: SectionValues<typeof rows.hybridSchedulerSection>;
		/** `upgradeQuotas`: by lending bucket, in requests; others lend `upgradeQuotaDefault`. */
		readonly atleast: SectionValues<typeof rows.atleastSchedulerSection> & {
			readonly upgradeQuotas: ReadonlyMap<number, number>;
		};
	};
	/** What holds for providers that do not say otherwise; each provider's own `capacity` has it merged in already. */
	readonly capacity: CapacityConfig;
	readonly capacityGuard: SectionValues<typeof capacityGuardSection>;
	readonly preemption: SectionValues<typeof preemptionSection>;
	readonly failoverOrder: readonly string[];
	/** In the order of the file; never empty. */
	readonly providers: readonly ProviderConfig[];
	/** By model. */
	readonly pricing: ReadonlyMap<string, SectionValues<typeof service.pricingSection>>;
	readonly timeWindows: SectionValues<typeof timeWindowsSection>;
	readonly quotas: SectionValues<typeof quotasSection>;
	readonly protection: {
		readonly contextLength: SectionValues<typeof contextLengthSection>;
		readonly rateLimit: SectionValues<typeof rateLimitSection>;
	};
	readonly observability: SectionValues<typeof service.observabilitySection>;
}

/** What the builder cannot find in the assignments. */
export interface Surroundings {
	/** Data folder when nobody sets one. */
	readonly dataDir: string;
	/** Endpoint of a provider that names none. */
	readonly upstream: string;
}

const DEFAULT_UPGRADE_QUOTAS: readonly (readonly [number, number])[] = [
	[0, 2],
	[1, 5],
	[2, 10],
];

export function buildConfig(
	assignments: Assignments,
	surroundings: Surroundings,
): { config: GatewayConfig; values: Values } {
	const values = new Values(assignments);
	const requestScheduler = values.read(rows.requestSchedulerSection);
	const gateway = values.read(service.gatewaySection);
	const config: GatewayConfig = {
		gateway,
		admin: values.read(service.adminSection),
		storage: readStorage(values, surroundings),
		requestScheduler: readDefaultPriority(values, requestScheduler),
		cost: values.read(service.costSection),
		classifier: readClassifier(values, requestScheduler.classifier === "hybrid" && isLoopback(gateway.listen.host)),
		models: new Map(values.readOpen(service.modelsSection).map(({ name, value }) => [name, value])),
		allocator: {
			priority: { ...values.read(rows.priorityAllocatorSection), levels: readQueues(values, rows.levelSection) },
			bucket: {
				...values.read(rows.bucketAllocatorSection),
				buckets: readQueues(values, rows.bucketSection),
				tierMappings: values.instances(rows.tierMappingSection).map((parameters) => ({
					group: parameters[0] ?? "",
					...defined(values.read(rows.tierMappingSection, parameters)),
				})),
			},
			weightedRouter: values.read(weightedRouterSection),
		},
		scheduler: {
			drr: values.read(rows.drrSchedulerSection),
			hybrid: values.read(rows.hybridSchedulerSection),
			atleast: { ...values.read(rows.atleastSchedulerSection), upgradeQuotas: readUpgradeQuotas(values) },
		},
		capacity: readCapacity(values, capacitySection, [], []),
		capacityGuard: values.read(capacityGuardSection),
		preemption: values.read(preemptionSection),
		failoverOrder: values.read(providersSection).failoverOrder,
		providers: readProviders(values, surroundings),
		pricing: new Map(
			values
				.instances(service.pricingSection)
				.map((parameters) => [parameters[0] ?? "", values.read(service.pricingSection, parameters)]),
		),
		timeWindows: values.read(timeWindowsSection),
		quotas: values.read(quotasSection),
		protection: {
			contextLength: values.read(contextLengthSection),
			rateLimit: values.read(rateLimitSection),
		},
		observability: values.read(service.observabilitySection),
	};
	return { config, values };
}

function readStorage(values: Values, { dataDir }: Surroundings): GatewayConfig["storage"] {
	const storage = values.read(service.storageSection);
	if (storage.dataDir === undefined) values.derive("storage", "data_dir", dataDir);
	return { ...storage, dataDir: storage.dataDir ?? dataDir };
}

/** The default of `default_priority` is the worst of five levels: with fewer it means the worst there is. */
function readDefaultPriority(
	values: Values,
	read: GatewayConfig["requestScheduler"],
): GatewayConfig["requestScheduler"] {
	const { priorityLevels } = values.read(rows.priorityAllocatorSection);
	if (values.isSet("request_scheduler.default_priority") || read.defaultPriority < priorityLevels) return read;
	values.derive("request_scheduler", "default_priority", String(priorityLevels - 1));
	return { ...read, defaultPriority: priorityLevels - 1 };
}

function readClassifier(values: Values, opensByDefault: boolean): GatewayConfig["classifier"] {
	const header = values.read(headerClassifierSection);
	const token = values.read(tokenClassifierSection);
	const fallback = values.read(defaultClassifierSection);
	const headerEnabled = header.enabled ?? header.trustedCidrs.length > 0;
	if (header.enabled === undefined) values.derive("classifier.header", "enabled", String(headerEnabled));
	if (fallback.enabled === undefined) values.derive("classifier.default", "enabled", String(opensByDefault));
	return {
		header: { ...header, enabled: headerEnabled },
		token,
		default: { enabled: fallback.enabled ?? opensByDefault },
	};
}

function readQueues(values: Values, section: typeof rows.levelSection): ReadonlyMap<number, QueueOverrides> {
	const queues = values
		.instances(section)
		.map((parameters): [number, QueueOverrides] => [Number(parameters[0]), defined(values.read(section, parameters))]);
	return new Map(queues.sort(([a], [b]) => a - b));
}

function readUpgradeQuotas(values: Values): ReadonlyMap<number, number> {
	const written = values
		.readOpen(rows.atleastSchedulerSection)
		.map(({ name, value }): [number, number] => [Number(name), value]);
	return new Map([...DEFAULT_UPGRADE_QUOTAS, ...written]);
}

function readProviders(values: Values, surroundings: Surroundings): readonly ProviderConfig[] {
	const families = values.instances(familySection);
	const names = new Set([...values.instances(providerSection), ...families].map((parameters) => parameters[0] ?? ""));
	if (names.size === 0) names.add("default");
	return [...names].map((name) => {
		const own = values.read(providerSection, [name], ["capacity"]);
		if (own.endpoints === undefined) values.derive(`provider.${name}`, "endpoint", surroundings.upstream);
		const rest = Object.fromEntries(Object.entries(own).filter(([property]) => !(property in capacityKeys)));
		return {
			...(rest as Omit<ProviderValues, keyof typeof capacityKeys>),
			endpoints: own.endpoints ?? [surroundings.upstream],
			name,
			capacity: readCapacity(values, providerSection, [name], ["capacity"]),
			families: families
				.filter((parameters) => parameters[0] === name)
				.map((parameters) => ({
					name: parameters[1] ?? "",
					models: values.read(familySection, parameters, [`provider.${name}`, "capacity"]).models ?? [],
					capacity: readCapacity(values, familySection, parameters, [`provider.${name}`, "capacity"]),
				})),
		};
	});
}

function readCapacity<K extends typeof capacityKeys & Keys>(
	values: Values,
	section: Section<K>,
	parameters: readonly string[],
	inherited: readonly string[],
): CapacityConfig {
	const all: ValuesOf<typeof capacityKeys> = values.read(section, parameters, inherited);
	const own = Object.fromEntries(Object.entries(all).filter(([property]) => property in capacityKeys)) as typeof all;
	const spaceIsSet = own.maxConcurrent !== undefined || own.maxInflightTokens !== undefined;
	const mode = own.mode ?? (own.capacityFrom !== undefined ? "measured" : spaceIsSet ? "static" : "engine");
	if (own.mode === undefined) values.derive(sectionName(section.name, parameters), "mode", mode);
	return { ...own, mode };
}

/** Without the keys that are not set. */
function defined<T extends object>(values: T): { [N in keyof T]?: Exclude<T[N], undefined> } {
	return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
		[N in keyof T]?: Exclude<T[N], undefined>;
	};
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
	return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
