// The types that the dashboard has to have: those of Grafana's own schema, and for queries, which the schema leaves open,
// those of this repository.

import type { Dashboard, DataSourceRef, Panel, RowPanel, VariableModel } from "@grafana/schema";
import type { Options as StatOptions } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type {
  FieldConfig as TimeSeriesFieldConfig,
  Options as TimeSeriesOptions,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** A type as JSON has it: members of enums of texts by their values. */
type Json<T> = T extends string ? `${T}` : T extends object ? { [Key in keyof T]: Json<T[Key]> } : T;

interface PrometheusQuery {
  refId: string;
  datasource: DataSourceRef;
  editorMode: "builder" | "code";
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

/** A panel of one type, with its options and those of its fields. */
type PanelOf<Type extends string, Options, Custom> = Omit<Panel, "type" | "options" | "targets" | "fieldConfig"> & {
  type: Type;
  options: Options;
  targets: PrometheusQuery[];
  fieldConfig: {
    defaults: Omit<NonNullable<Panel["fieldConfig"]>["defaults"], "custom"> & { custom?: Custom };
    overrides: NonNullable<Panel["fieldConfig"]>["overrides"];
  };
};

/** A variable. Grafana also exports the text of a query variable as its definition. */
type Variable = VariableModel & { definition?: string };

export type ExpectedDashboard = Json<
  Omit<Dashboard, "panels" | "templating"> & {
    panels: (RowPanel | PanelOf<"stat", StatOptions, never> | PanelOf<"timeseries", TimeSeriesOptions, TimeSeriesFieldConfig>)[];
    templating: { list: Variable[] };
  }
>;

// What follows doesn't compile, so the check can fail: an unknown member, and an unknown value of an enum.
// @ts-expect-error
export const unknownMember: ExpectedDashboard = { schemaVersion: 39, panels: [], templating: { list: [] }, panel: [] };
// @ts-expect-error
export const unknownValue: ExpectedDashboard["panels"][number]["type"] = "graph";
