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
    let machine = if is_virtual(&cpuinfo) { " in a virtual machine" } else { "" };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory_gb(&meminfo).map_or(String::new(), |gb| format!(", {gb:.0} GB of memory"));
    format!("{} cores of {model}{machine}{memory}; Linux {}.", models.len(), kernel.trim())
}

/// Returns whether a hypervisor runs the machine, which x86 processors tell as a flag.
fn is_virtual(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.is_some_and(|(_, flags)| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}

fn memory_gb(meminfo: &str) -> Option<f64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: f64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e9)
}

/// Returns the load averages of the last minute, five minutes and fifteen minutes.
///
/// # Errors
/// Returns an error if `/proc` can't be read.
pub(crate) fn load_average() -> anyhow::Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg").context("cannot read `/proc/loadavg`")?;
    Ok(line.split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_machine_is_recognised_by_its_flag() {
        assert!(is_virtual("model name\t: A\nflags\t\t: fpu hypervisor sse\n"));
        assert!(!is_virtual("flags\t\t: fpu sse\n"));
        assert!(!is_virtual(""));
    }

    #[test]
    fn memory_is_in_powers_of_ten() {
        assert_eq!(memory_gb("MemTotal:       1000000 kB\nMemFree: 1 kB\n"), Some(1.024));
        assert_eq!(memory_gb("MemFree: 1 kB\n"), None);
    }
}
