//! A description of the machine, read from `/proc`.

use anyhow::Context;

/// Describes cores, processor and kernel in one sentence.
pub(crate) fn description() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim()))
        .collect();
    let model = models.first().copied().unwrap_or("an unnamed processor");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {model}; Linux {}.", models.len(), kernel.trim())
}

/// Returns the load averages of the last minute, five minutes and fifteen minutes.
///
/// # Errors
/// Returns an error if `/proc` can't be read.
pub(crate) fn load_average() -> anyhow::Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg").context("cannot read `/proc/loadavg`")?;
    Ok(line.split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" "))
}
