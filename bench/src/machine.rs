//! What the figures were taken on, as far as `/proc` says.

use anyhow::Context;

/// Cores, processor and kernel.
pub(crate) fn description() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim()))
        .collect();
    let model = models.first().copied().unwrap_or("a processor without a name");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {model}; Linux {}.", models.len(), kernel.trim())
}

/// Of the last minute, five and fifteen.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn load_average() -> anyhow::Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg").context("cannot read `/proc/loadavg`")?;
    Ok(line.split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" "))
}
