//! A virtual machine that boots into one function: qemu's `microvm`, Debian's kernel for clouds, and
//! an initial file system with the static program and its input. The answer comes from the serial
//! port.
//!
//! The kernel is unpacked from its package, not installed. Its drivers of faster ports than the
//! serial one are modules, and find a port in this machine only with tables that need a clock which
//! software emulation doesn't have.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::packages;
use crate::prepare;

/// The package that depends on the newest kernel.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// The memory of a machine: the limit of a function under Nebula.
const MEMORY: &str = "256M";

/// The words of the kernel's command line: no output, a restart, which ends the machine, when the
/// program has ended or the kernel fails, and the processor's counter as the clock. The kernel
/// otherwise distrusts the counter of an emulated processor, and its other clock has steps of four
/// milliseconds, in which the function's time would be lost. It still takes that one if other work
/// disturbs the boot, because it can't measure the counter's frequency then.
const KERNEL_ARGUMENTS: &str = "quiet loglevel=0 reboot=t panic=-1 tsc=reliable";

/// The longest time that a machine takes to boot by KVM. Where KVM emulates what the processor
/// lacks, a kernel that doesn't take part in this never boots.
const KVM_BOOT_TIMEOUT: Duration = Duration::from_secs(15);

/// The way in which instructions of the machine are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accelerator {
    /// By the processor.
    Kvm,
    /// By qemu's translator.
    Software,
}

impl Accelerator {
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Software => ["-accel", "tcg", "-cpu", "max"],
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Software => "software emulation, because no kernel boots by KVM here",
        }
    }
}

/// The things that boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    accelerator: Accelerator,
}

impl Boot {
    /// Prepares a machine of these files that answers on stdout.
    pub(crate) fn command(&self, files: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.qemu);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.args(["-M", "microvm,acpi=off", "-m", MEMORY, "-smp", "1"]);
        command.args(self.accelerator.arguments());
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(files);
        command.arg("-append").arg(format!("{KERNEL_ARGUMENTS} -- {}", arguments.join(" ")));
        command.args(["-serial", "stdio"]);
        command
    }

    /// Returns whether a machine starts its first program, which then ends it: it has no input.
    fn succeeds(&self, files: &Archive) -> anyhow::Result<bool> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), files.clone().finish())?;
        let mut boot = self.command(file.path(), &["none".to_owned()]);
        boot.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut machine = boot.spawn().with_context(|| format!("cannot run `{}`", self.qemu.display()))?;
        let begun = Instant::now();
        while begun.elapsed() < KVM_BOOT_TIMEOUT {
            if let Some(status) = machine.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        machine.kill()?;
        machine.wait()?;
        Ok(false)
    }
}

/// A machine that is ready for inputs.
#[derive(Debug)]
pub(crate) struct MicroVm {
    pub(crate) boot: Boot,
    release: String,
    /// The initial file system without an input.
    files: Archive,
}

impl MicroVm {
    /// Finds or installs qemu and a kernel.
    ///
    /// # Errors
    /// Returns an error if something isn't there and can't be installed.
    pub(crate) fn prepare(install: bool, init: &Path) -> anyhow::Result<Self> {
        ensure!(std::env::consts::ARCH == "x86_64", "qemu has this kind of machine for x86-64 only");
        let qemu = packages::program("qemu-system-x86_64", "qemu-system-x86", install)?;
        let Kernel { directory, release } = Kernel::prepare(install)?;
        let init = std::fs::read(init).with_context(|| format!("cannot read `{}`", init.display()))?;
        let mut files = Archive::default();
        files.add("dev", DIRECTORY, b"");
        files.add("init", PROGRAM, &init);
        let mut boot = Boot { qemu, kernel: directory.join("vmlinuz"), accelerator: Accelerator::Kvm };
        if !boot.succeeds(&files)? {
            boot.accelerator = Accelerator::Software;
        }
        Ok(Self { boot, release, files })
    }

    /// Packs the initial file system with an input.
    pub(crate) fn files_with(&self, input: &[u8]) -> Vec<u8> {
        let mut files = self.files.clone();
        files.add("input", FILE, input);
        files.finish()
    }

    /// Returns the bytes of the initial file system without an input.
    pub(crate) fn files_bytes(&self) -> u64 {
        self.files.bytes.len() as u64
    }

    /// Describes the machine.
    pub(crate) fn description(&self) -> String {
        let version = packages::first_line(Command::new(&self.boot.qemu).arg("--version"));
        let version = version.unwrap_or_else(|| "qemu".to_owned());
        let accelerator = self.boot.accelerator.description();
        format!("{version}, {accelerator}, {MEMORY} of memory, Debian's kernel {}", self.release)
    }
}

/// An unpacked kernel.
struct Kernel {
    directory: PathBuf,
    release: String,
}

impl Kernel {
    /// Finds the kernel below the directory of tools, or unpacks it from the package.
    fn prepare(install: bool) -> anyhow::Result<Self> {
        let directory = prepare::bench_tools()?.join("kernel");
        // Written last.
        let release = directory.join("release");
        if !release.is_file() {
            ensure!(install, "there is no kernel for virtual machines, and this run installs nothing");
            ensure!(packages::can_install(), "only root on Debian can get a kernel for virtual machines");
            eprintln!("unpacking a kernel for virtual machines, once");
            std::fs::create_dir_all(&directory)?;
            std::fs::write(&release, unpack(&directory)?)?;
        }
        Ok(Self { release: std::fs::read_to_string(&release)?, directory })
    }
}

/// Downloads the newest kernel's package, copies the kernel to `directory`, and returns its release.
fn unpack(directory: &Path) -> anyhow::Result<String> {
    let depends = Command::new("apt-cache").args(["depends", KERNEL_PACKAGE]).output()?;
    let package = kernel_package(&String::from_utf8_lossy(&depends.stdout))
        .with_context(|| format!("no kernel is known: `{KERNEL_PACKAGE}` isn't a package here"))?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    let download = tempfile::tempdir()?;
    let mut apt = Command::new("apt-get");
    // Another user, as which it downloads otherwise, may not write here.
    apt.args(["--option", "APT::Sandbox::User=root", "download", &package]).current_dir(download.path());
    prepare::run(apt.stdout(Stdio::null()))?;
    let mut entries = std::fs::read_dir(download.path())?;
    let file = entries.next().context("no package was downloaded")??.path();
    let unpacked = download.path().join("unpacked");
    prepare::run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&unpacked))?;
    let kernel = unpacked.join(format!("boot/vmlinuz-{release}"));
    std::fs::copy(&kernel, directory.join("vmlinuz"))
        .with_context(|| format!("`{package}` has no `{}`", kernel.display()))?;
    Ok(release)
}

/// Finds the kernel in the dependencies that `apt-cache` prints.
fn kernel_package(depends: &str) -> Option<String> {
    let mut lines = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    lines.find(|package| package.starts_with("linux-image-")).map(str::to_owned)
}

/// The types and permissions of files, as in `stat`.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An initial file system, in the format that Linux calls newc: for each file a head of hexadecimal
/// numbers, its name and its content, each filled up to four bytes.
#[derive(Clone, Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.files += 1;
        let (name_len, len) = (name.len() + 1, content.len());
        // The number of the file, its owner, links and time, its length, devices, and the name's
        // length. There is no checksum.
        let numbers = [self.files as usize, mode as usize, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend(b"070701");
        for number in numbers {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.fill();
        self.bytes.extend(content);
        self.fill();
    }

    fn fill(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Adds the entry that ends the archive.
    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_cloud_package_is_found() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-57-cloud-amd64\n  Suggests: x\n";
        assert_eq!(kernel_package(depends).unwrap(), "linux-image-6.1.0-57-cloud-amd64");
        assert_eq!(kernel_package("N: Unable to locate package\n"), None);
    }

    #[test]
    fn an_archive_has_aligned_entries() {
        let mut archive = Archive::default();
        archive.add("dev", DIRECTORY, b"");
        archive.add("init", PROGRAM, b"#!");
        let bytes = archive.finish();
        let heads: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"070701")).collect();
        assert_eq!(heads.len(), 3);
        assert!(heads.iter().all(|at| at % 4 == 0) && bytes.len() % 4 == 0, "{heads:?}");
        let second = String::from_utf8_lossy(&bytes[heads[1]..heads[2]]);
        assert!(
            second.starts_with("07070100000002000081ed") && second.ends_with("init\0\0#!\0\0"),
            "{second:?}"
        );
    }
}
