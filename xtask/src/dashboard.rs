//! Checks the dashboard in `deploy/grafana` against the types of Grafana's own schema.
//!
//! ```text
//! nebula.json -> dashboard.ts: ExpectedDashboard (types.ts) -> tsc, with @grafana/schema
//! ```
//!
//! No registry has a Grafana that could import it. The schema is a package of Grafana's npm scope, and
//! says more than an import would: Grafana ignores members that it doesn't have.

use crate::command::{root, run};
use crate::tools;

/// Gives the dashboard its type and lets TypeScript compare.
pub(crate) fn check() -> Result<(), String> {
    let folder = root().join("target/tools/dashboard");
    let node = tools::node_packages(&folder, &tools::DASHBOARD_PACKAGES)?;
    let sources = root().join("xtask/dashboard");
    let failed = |error: std::io::Error| format!("cannot prepare `{}`: {error}", folder.display());
    for name in ["types.ts", "tsconfig.json"] {
        std::fs::copy(sources.join(name), folder.join(name)).map_err(failed)?;
    }
    let dashboard = std::fs::read_to_string(root().join("deploy/grafana/nebula.json")).map_err(failed)?;
    let import = "import type { ExpectedDashboard } from \"./types.js\";";
    let typed = format!("{import}\nexport const dashboard: ExpectedDashboard = {dashboard};\n");
    std::fs::write(folder.join("dashboard.ts"), typed).map_err(failed)?;
    std::fs::write(folder.join("package.json"), r#"{"type": "module", "private": true}"#).map_err(failed)?;
    run(std::process::Command::new(node.join("tsc")).arg("--project").arg(&folder))
}
