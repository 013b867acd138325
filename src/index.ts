/** `tokligence`: the gateway as a library: load a configuration, start a gateway, stop it. */
export { type RunningGateway, startGateway } from "./app/gateway.ts";
export type { GatewayConfig } from "./config/gateway-config.ts";
export { type ConfigRequest, type LoadResult, loadConfig } from "./config/load.ts";
