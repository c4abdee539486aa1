/** A request from its first byte to its last as one span, one line of the log and one count: the same for every transport. */
import { type Activity, type ActivityStart, beginActivity, type RequestRecord } from "../base/activity.js";
import type { ServiceHost } from "./service-host.js";

export interface ObservedRequest {
  readonly activity: Activity;
  /** @param message what was asked and how it was answered; by now without secrets */
  end(message: string, attributes?: ActivityStart["attributes"]): void;
}

export function beginRequest(
  { observer, log, audit }: Pick<ServiceHost, "observer" | "log" | "audit">,
  start: ActivityStart,
): ObservedRequest {
  observer.began(start.transport);
  const activity = beginActivity(start);
  return {
    activity,
    end(message, attributes) {
      const record = activity.end(attributes);
      observer.ended(record);
      audit?.ended(activity, record);
      log({ level: "info", message, fields: fieldsOf(record) });
    },
  };
}

function fieldsOf(record: RequestRecord): Record<string, string | number | undefined> {
  const { requestId, transport, address, service, repository, user, outcome } = record;
  const { bytesIn, bytesOut, pushedObjects, milliseconds } = record;
  return {
    requestId,
    address,
    user,
    transport,
    service,
    repository,
    outcome,
    bytesIn,
    bytesOut,
    pushedObjects,
    milliseconds,
  };
}
