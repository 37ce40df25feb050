//! The section of the report on what a reader should doubt.

use crate::experiment::document::Block;

pub(super) fn blocks() -> [Block; 2] {
    let items = THREATS.map(str::to_owned).to_vec();
    [Block::Heading("Threats to validity".to_owned()), Block::Items(items)]
}

const THREATS: [&str; 12] = [
    "The containers are those of runc, alone or under Podman, without a network. Docker, containerd and Kubernetes \
     add a daemon, a network and a proxy, each of which takes longer than runc. The results favour containers.",
    "A container per call by runc has an empty network namespace and a root that is a directory, without an overlay. \
     Podman's has an overlay, in memory if there is room. That favours containers, too.",
    "A virtual machine by software emulation says little about one by the processor, such as Firecracker's: it boots \
     and computes many times more slowly. The report names the kind that ran. Debian's kernel is not the smallest.",
    "The warm container shares the host's network, so that no bridge is in its way.",
    "The native program is linked statically and starts faster than a program with shared libraries, and much faster \
     than an interpreter.",
    "wasmtime and Nebula compile Wasm before the first call: the time to compile isn't part of any call. It is paid \
     once, at deploy.",
    "The time inside the function contains the conversion from and to JSON in a native program and in a component for \
     wasmtime. Nebula does that outside of the function, so there it belongs to the platform.",
    "Peak memory is what the kernel charges to the arm's group. Pages of files that another process read before are \
     not charged, and a server's memory contains what it would hold for other functions.",
    "The power of a core differs by a factor of four between sources, of which some count what an idle core draws; for \
     memory there is one source, and its range is half and twice that. The model ignores the idle power of the machine. \
     So whether a platform that computes less or one that holds less memory needs less energy depends on the coefficients.",
    "In the idle hour, the daemon that would receive requests for containers and processes and start them (Docker, \
     containerd, an ingress) isn't counted. Nebula's server is.",
    "The idle hour is a model: calls are independent, although real ones come in bursts. The replay that checks it is \
     of the same kind, shorter, and without the most frequent calls. Rates are those of applications, of which each \
     has one function or more.",
    "One machine and the loopback: no network, no noisy neighbours, no disk, and no more callers than four per core.",
];
